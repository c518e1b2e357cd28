import { describe, expect, test } from 'vitest';
import type { Fault } from '../../src/job/failures.ts';
import type { JobRecord, JobRequest, Plan } from '../../src/job/job.ts';
import { draftRequest, type RequestInput } from '../../src/job/plan-request.ts';
import { afterFault, excessWork, newRecord, pauseLeft, payingOf, timeLeft, timesAfter } from '../../src/job/record.ts';
import { FLUX, planOn, value } from './requests.ts';

const PATIENCE = { attempts: 3, queueMs: 1000 };
const record = (changes: Partial<JobRecord> = {}): JobRecord => ({
  ...newRecord(
    {
      account: 'acct_0123456789abcdef',
      id: 'j',
      request: {} as JobRequest,
      plan: {} as Plan,
      deadlineAt: null,
      webhook: null,
    },
    100,
  ),
  ...changes,
});
const BUSY: Fault = { reason: 'busy', retryAfterMs: 0 };
const CUT: Fault = { reason: 'unreachable', detail: '', isAnswered: true };
const NOBODY_THERE: Fault = { reason: 'unreachable', detail: '', isAnswered: false };

describe('after a fault', () => {
  test('a passing one is tried again after a pause that doubles', () => {
    expect(afterFault(record(), 1, CUT, PATIENCE, 0)).toMatchObject({
      kind: 'delay',
      changes: { notBefore: 500, busySince: null },
      event: { type: 'retry', data: { attempt: 1, wait_ms: 500 } },
    });
    expect(afterFault(record({ tries: 1 }), 1, CUT, PATIENCE, 0)).toMatchObject({
      kind: 'delay',
      changes: { notBefore: 1000 },
    });
  });

  test('pauses grow no longer than half a minute', () => {
    expect(afterFault(record({ tries: 20 }), 1, CUT, { ...PATIENCE, attempts: 100 }, 0)).toMatchObject({
      changes: { notBefore: 30_000 },
    });
  });

  test('the last try ends the job with its reason', () => {
    expect(afterFault(record({ tries: 2 }), 1, CUT, PATIENCE, 0)).toMatchObject({
      kind: 'end',
      reason: 'unreachable',
    });
  });

  test.each<[Fault, string]>([
    [{ reason: 'refused', status: 422, code: 'out_of_range', message: 'm' }, 'refused'],
    [{ reason: 'reported', code: 'not_finite', message: 'm', retryable: false }, 'not_finite'],
  ])('a final one ends the job at once: %o', (fault, reason) => {
    expect(afterFault(record(), 1, fault, PATIENCE, 0)).toMatchObject({ kind: 'end', reason });
  });

  test('busy is waiting: no try is counted, the watchers are told once, and the wait has an end', () => {
    const first = afterFault(record({ tries: 1 }), 2, BUSY, PATIENCE, 5000);
    expect(first).toMatchObject({
      kind: 'delay',
      changes: { tries: 1, busySince: 5000, notBefore: 5200 },
      event: { type: 'queued', data: { stage: 2 } },
    });
    expect(afterFault(record({ tries: 1, busySince: 5000 }), 2, BUSY, PATIENCE, 5999)).toMatchObject({
      kind: 'delay',
      event: null,
    });
    expect(afterFault(record({ tries: 1, busySince: 5000 }), 2, BUSY, PATIENCE, 6000)).toMatchObject({
      kind: 'end',
      reason: 'no_capacity',
    });
  });

  test('nobody to ask is waited for as a busy server is', () => {
    const NOBODY: Fault = { reason: 'no_server' };
    expect(afterFault(record({ tries: 2 }), 1, NOBODY, PATIENCE, 5000)).toMatchObject({
      kind: 'delay',
      changes: { tries: 2, busySince: 5000, notBefore: 6000 },
      event: { type: 'queued' },
    });
    expect(afterFault(record({ busySince: 5000 }), 1, NOBODY, PATIENCE, 6000)).toMatchObject({
      kind: 'end',
      reason: 'no_capacity',
    });
  });

  test('a server that is not there is waited for as long, with pauses that grow, and uses up no try', () => {
    const first = afterFault(record({ tries: 1 }), 1, NOBODY_THERE, PATIENCE, 5000);
    expect(first).toMatchObject({
      kind: 'delay',
      changes: { tries: 1, busySince: 5000, notBefore: 5500 },
      event: { type: 'retry', data: { attempt: 2, reason: 'unreachable', wait_ms: 500 } },
    });
    const patient = { attempts: 3, queueMs: 900_000 };
    let since = record();
    const asked: number[] = [];
    for (let now = 0; now < 25_000; ) {
      const verdict = afterFault(since, 1, NOBODY_THERE, patient, now);
      if (verdict.kind !== 'delay') throw new Error(`it ended after ${now} ms`);
      since = { ...since, ...verdict.changes };
      now = since.notBefore;
      asked.push(now);
    }
    expect(asked).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 26_000]);
    expect(since.tries).toBe(0);
    expect(afterFault(record({ busySince: 5000 }), 1, NOBODY_THERE, PATIENCE, 6000)).toMatchObject({
      kind: 'end',
      reason: 'unreachable',
    });
  });

  test('a clock that steps back begins the wait anew and does not make it longer', () => {
    expect(afterFault(record({ busySince: 3_600_000 }), 1, BUSY, PATIENCE, 5000)).toMatchObject({
      changes: { busySince: 5000, notBefore: 5200 },
    });
  });

  test('a server that says when to come again is asked then, within bounds', () => {
    expect(afterFault(record(), 1, { reason: 'busy', retryAfterMs: 3000 }, PATIENCE, 0)).toMatchObject({
      changes: { notBefore: 3000 },
    });
    expect(afterFault(record(), 1, { reason: 'busy', retryAfterMs: 1e9 }, PATIENCE, 0)).toMatchObject({
      changes: { notBefore: 10_000 },
    });
  });
});

test('the times of rooms add up to the time since the beginning', () => {
  const later = {
    ...record(),
    room: { name: 'select' as const },
    roomSince: 130,
    roomTimes: timesAfter(record(), 130),
  };
  const times = timesAfter(later, 150);
  expect(times).toEqual([
    { room: 'stage1', ms: 30 },
    { room: 'select', ms: 20 },
  ]);
});

describe('a clock that steps back an hour', () => {
  const HOUR = 3_600_000;
  test('leaves no pause of an hour: one that ends later than any may is over', () => {
    expect(pauseLeft({ notBefore: 5500 }, 5000)).toBe(500);
    expect(pauseLeft({ notBefore: 35_000 }, 5000)).toBe(30_000);
    expect(pauseLeft({ notBefore: 5000 }, 5500)).toBe(0);
    expect(pauseLeft({ notBefore: HOUR + 500 }, 0)).toBe(0);
  });

  test('leaves a job no more time than it was given', () => {
    expect(timeLeft({ deadlineAt: null, createdAt: 0 }, 0)).toBe(Number.POSITIVE_INFINITY);
    expect(timeLeft({ deadlineAt: 9000, createdAt: 4000 }, 6000)).toBe(3000);
    expect(timeLeft({ deadlineAt: 9000, createdAt: 4000 }, 9500)).toBe(0);
    expect(timeLeft({ deadlineAt: HOUR + 9000, createdAt: HOUR + 4000 }, 6000)).toBe(5000);
  });
});

describe('what is paid of a job that ends', () => {
  const requestOf = (input: Partial<RequestInput>): JobRequest => {
    const tools = { allowEngineChange: false, tariff: null, draw: () => 1 };
    const [job] = value(draftRequest({ prompt: 'a fox', ...input }, FLUX, tools)).plan(new Map());
    return (job as { request: JobRequest }).request;
  };
  const failed = (reason: 'not_finite' | 'server_error' | 'deadline_exceeded') =>
    ({ room: { name: 'failed' }, reason }) as const;

  test.each<[string, Partial<RequestInput>, 'heard' | 'nothing']>([
    ['stages of its own', { N: [4, 5, 6], e: [0.3, 0.45, 1], r: 0.3 }, 'heard'],
    ['shifts of its own', { N: [4], e: [1], h: [9] }, 'heard'],
    ['steps of the plain run alone', { N: [9], e: [1] }, 'nothing'],
    ['a speed, whose steps are ours', { speed: 4 }, 'nothing'],
    ['a preset', { preset: '7x' }, 'nothing'],
  ])('with values that are not finite, where it asked for %s', (_, input, paid) => {
    expect(payingOf(requestOf(input), failed('not_finite'))).toBe(paid);
  });

  test('any other failure is ours, whoever wrote the schedule; a deadline and a cancel are the caller’s', () => {
    const own = requestOf({ N: [4, 5, 6], e: [0.3, 0.45, 1], r: 0.3 });
    expect(payingOf(own, failed('server_error'))).toBe('nothing');
    expect(payingOf(requestOf({}), failed('deadline_exceeded'))).toBe('heard');
    expect(payingOf(requestOf({}), { room: { name: 'cancelled' }, reason: null })).toBe('heard');
    expect(payingOf(requestOf({}), { room: { name: 'done' }, reason: null })).toBe('whole');
  });
});

test('what all runs of all stages did beyond the plan is counted, whether it has a price or not', () => {
  const plan = value(planOn(FLUX, { preset: '7x' }));
  const [first, second] = plan.stages as [Plan['stages'][number], Plan['stages'][number]];
  const { denoise, decode, text } = plan.flops;
  expect(excessWork({ plan }, new Map([[1, first.steps]]))).toBeNull();
  const many = Math.ceil((2 * denoise) / (first.flops / first.evaluations));
  const excess = excessWork(
    { plan },
    new Map([
      [1, many],
      [2, second.steps],
    ]),
  );
  const done = (first.flops / first.evaluations) * many + second.flops;
  expect(excess?.mflop).toBe(Math.ceil((done - (denoise + decode + text)) / 1e6));
});
