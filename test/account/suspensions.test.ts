/** What an isolate remembers of accounts that are suspended. */
import { expect, test } from 'vitest';
import { makeSuspensions } from '../../src/account/suspensions.ts';

test('an account is asked once in 30 s for each job, and again when the clock steps back', async () => {
  let [now, asked] = [1_000_000, 0];
  const suspensions = makeSuspensions(() => now);
  const of = (job: string, isSuspended: boolean) =>
    suspensions.of(job, async () => {
      asked++;
      return isSuspended;
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
  const suspensions = makeSuspensions(() => now);
  await expect(suspensions.of('a', () => Promise.reject(new Error('silent')))).rejects.toThrow('silent');
  const slow = () => {
    now += 20_000;
    return Promise.resolve(true);
  };
  expect(await suspensions.of('a', slow)).toBe(true);
  now += 10_000;
  expect(await suspensions.of('a', () => Promise.resolve(false))).toBe(false);
});

test('of too many jobs the one remembered longest goes', async () => {
  const suspensions = makeSuspensions(() => 0, 2);
  for (const job of ['a', 'b', 'c']) await suspensions.of(job, () => Promise.resolve(false));
  expect(await suspensions.of('b', () => Promise.resolve(true))).toBe(false);
  expect(await suspensions.of('a', () => Promise.resolve(true))).toBe(true);
});
