/** What an isolate remembers of accounts that are suspended, and how often they are asked. */
import { expect, test } from 'vitest';
import { makeSuspensions } from '../../src/account/suspensions.ts';

const WAIT_MS = 1000;
const TOO_LONG = 'took too long';
const wait = <T>(answer: Promise<T>): Promise<T> => answer;

/** Answers that come when the test says so, and who was asked. */
function faraway() {
  const asked: string[] = [];
  const answers: PromiseWithResolvers<boolean>[] = [];
  const ask = (account: string) => ({
    owner: async () => account,
    isSuspended: (name: string) => {
      asked.push(name);
      const answer = Promise.withResolvers<boolean>();
      answers.push(answer);
      return answer.promise;
    },
  });
  return { asked, answers, ask };
}
const said = (isSuspended: boolean) => ({ owner: async () => 'anybody', isSuspended: async () => isSuspended });
const untilAsked = () => new Promise((resolve) => setTimeout(resolve, 5));

test('an account is asked once in 30 s for each job, and again when the clock steps back', async () => {
  let [now, asked] = [1_000_000, 0];
  const suspensions = makeSuspensions({ now: () => now, wait, waitMs: WAIT_MS });
  const of = (job: string, isSuspended: boolean) =>
    suspensions.of(job, {
      owner: async () => 'anybody',
      isSuspended: async () => {
        asked++;
        return isSuspended;
      },
    });
  expect(await of('a', true)).toBe(true);
  now += 29_999;
  expect(await of('a', false)).toBe(true);
  expect(asked).toBe(1);
  expect(await of('b', false)).toBe(false);
  now += 1;
  expect(await of('a', false)).toBe(false);
  expect(asked).toBe(3);
  now -= 1;
  expect(await of('a', true)).toBe(true);
});

test('an answer counts from when it was asked for, and a failure is not remembered', async () => {
  let now = 0;
  const suspensions = makeSuspensions({ now: () => now, wait, waitMs: WAIT_MS });
  const silent = { owner: async () => 'anybody', isSuspended: () => Promise.reject(new Error('silent')) };
  await expect(suspensions.of('a', silent)).rejects.toThrow('silent');
  const slow = async () => {
    now += 20_000;
    return true;
  };
  expect(await suspensions.of('a', { ...silent, isSuspended: slow })).toBe(true);
  now += 10_000;
  expect(await suspensions.of('a', said(false))).toBe(false);
});

test('of too many jobs the one remembered longest goes', async () => {
  const suspensions = makeSuspensions({ now: () => 0, wait, waitMs: WAIT_MS }, 2);
  for (const job of ['a', 'b', 'c']) await suspensions.of(job, said(false));
  expect(await suspensions.of('b', said(true))).toBe(false);
  expect(await suspensions.of('a', said(true))).toBe(true);
});

test('who asks at once asks together: for one job, and for the jobs of one account', async () => {
  const { asked, answers, ask } = faraway();
  const suspensions = makeSuspensions({ now: () => 0, wait, waitMs: WAIT_MS });
  const looks = ['a', 'a', 'b', 'c', 'a'].map((job) => suspensions.of(job, ask('one')));
  const other = suspensions.of('d', ask('two'));
  await untilAsked();
  expect(asked.sort()).toEqual(['one', 'two']);
  for (const [i, { resolve }] of answers.entries()) resolve(i === 0);
  expect([...(await Promise.all(looks)), await other]).toEqual([true, true, true, true, true, false]);
  // each is remembered
  expect(await suspensions.of('c', said(false))).toBe(true);
});

test('whoever waits for a request that was cut off asks anew, once for all, and for a moment only', async () => {
  let now = 0;
  const { asked, answers, ask } = faraway();
  // the wait for another's answer is over as soon as a second has passed
  const late: (() => void)[] = [];
  const short = <T>(answer: Promise<T>): Promise<T> =>
    Promise.race([answer, new Promise<never>((_, reject) => late.push(() => reject(new Error(TOO_LONG))))]);
  const suspensions = makeSuspensions({ now: () => now, wait: short, waitMs: WAIT_MS });
  const cutOff = suspensions.of('a', ask('one'));
  await untilAsked();
  const waiting = [1, 2, 3].map(() => suspensions.of('a', ask('one')));
  now += WAIT_MS;
  for (const end of late.splice(0)) end();
  await untilAsked();
  // the first question for the account is as old as that for the job
  expect(asked).toHaveLength(2);
  answers[1]?.resolve(true);
  expect(await Promise.all(waiting)).toEqual([true, true, true]);
  answers[0]?.resolve(false);
  expect(await cutOff).toBe(false);
});

test('where an account does not answer those who ask at once hear of it, and nobody asks for ever', async () => {
  let asked = 0;
  const suspensions = makeSuspensions({ now: () => 0, wait, waitMs: WAIT_MS });
  const silent = {
    owner: async () => 'one',
    isSuspended: () => {
      asked++;
      return Promise.reject(new Error('silent'));
    },
  };
  const looks = await Promise.allSettled(Array.from({ length: 50 }, () => suspensions.of('a', silent)));
  expect(looks.map(({ status }) => status)).toEqual(looks.map(() => 'rejected'));
  expect(asked).toBeLessThanOrEqual(3);
});
