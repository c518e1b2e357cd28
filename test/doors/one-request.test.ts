/** Several jobs as one request: what of them is the request's. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { asOne, isSpokenFor, jobsOf, linesAfter, linesOf, type ToldJob } from '../../src/doors/one-request.ts';
import { hasEnded, type JobView } from '../../src/job/job.ts';
import type { LinkedJob } from '../../src/job/links.ts';

const STATUSES = ['queued', 'running', 'done', 'failed', 'cancelled'] as const satisfies readonly JobView['status'][];

/** A job in short, which is all that is looked at. */
const told = (status: JobView['status'], more: Partial<LinkedJob> = {}, logs: ToldJob['logs'] = []): ToldJob => ({
  job: {
    id: 'job_1',
    status,
    finished_at: ['done', 'failed', 'cancelled'].includes(status) ? 5 : null,
    error: status === 'failed' ? { reason: 'timeout', message: 'Too slow.', stage: 1, attempts: 1 } : null,
    cost: null,
    receipt: null,
    queue: null,
    plan: { warnings: [] },
    ...more,
  } as unknown as LinkedJob,
  logs,
});
const one = (...jobs: readonly ToldJob[]) => asOne(jobs as [ToldJob, ...ToldJob[]]);
const statusOf = (...statuses: readonly JobView['status'][]) => one(...statuses.map((status) => told(status))).status;

describe('the status of a request', () => {
  test('is that of its job where it has one', () => {
    for (const status of STATUSES) expect(statusOf(status)).toBe(status);
  });

  test.each([
    [['queued', 'queued'], 'queued'],
    [['done', 'queued'], 'running'],
    [['failed', 'running'], 'running'],
    [['done', 'done'], 'done'],
    [['done', 'cancelled'], 'cancelled'],
    [['cancelled', 'failed', 'done'], 'failed'],
  ] as const)('%j is %s', (statuses, expected) => expect(statusOf(...statuses)).toBe(expected));

  test('has ended when all jobs have, and says when the last did; the order of the jobs decides nothing', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...STATUSES), { minLength: 1, maxLength: 4 }), (statuses) => {
        const request = one(
          ...statuses.map((status, i) => told(status, hasEnded({ status }) ? { finished_at: i } : {})),
        );
        const isOver = statuses.every((status) => hasEnded({ status }));
        expect(hasEnded(request)).toBe(isOver);
        expect(request.finishedAt).toBe(isOver ? statuses.length - 1 : null);
        expect(statusOf(...statuses.toReversed())).toBe(request.status);
      }),
    );
  });
});

describe('of all jobs together', () => {
  const line = (message: string, at: number) => ({ message, level: 'INFO' as const, at });

  test('logs are in the order of time, each with the image it is about; of one job they are its own', () => {
    const logs = [line('stage 1 of 3', 3), line('done', 9)];
    expect(one(told('done', {}, logs)).logs).toMatchObject(logs);
    const request = one(told('done', {}, logs), told('done', {}, [line('stage 1 of 3', 5)]));
    expect(request.logs.map(({ message }) => message)).toEqual([
      'image 1: stage 1 of 3',
      'image 2: stage 1 of 3',
      'image 1: done',
    ]);
    expect(request.startedAt).toBe(3);
    expect(one(told('queued')).startedAt).toBeNull();
  });

  test('lines are told once each, also where one comes behind a later one of another image', () => {
    const first = [line('a', 5), line('b', 9)];
    const before = one(told('running', {}, first), told('running', {}, [line('c', 7)]));
    // the clock of the second is behind
    const after = one(
      told('running', {}, [...first, line('d', 10)]),
      told('running', {}, [line('c', 7), line('e', 8)]),
    );
    expect(linesOf(before)).toEqual([2, 1]);
    const messages = (seen: readonly number[]) => linesAfter(after.logs, seen).map(({ message }) => message);
    expect(messages(linesOf(before))).toEqual(['image 2: e', 'image 1: d']);
    expect(messages([])).toHaveLength(5);
    expect(messages(linesOf(after))).toEqual([]);
  });

  test('costs are added, and known once all are', () => {
    const cost = (usd: string | null) => ({ usd, quote_usd: '0.000003', plain_usd: '0.000009', tariff: 'a' });
    expect(one(told('done', { cost: cost('0.000002') }), told('done', { cost: cost('0.000001') })).cost).toEqual({
      usd: '0.000003',
      quote_usd: '0.000006',
      plain_usd: '0.000018',
      tariff: 'a',
    });
    expect(one(told('done', { cost: cost('0.000002') }), told('queued', { cost: cost(null) })).cost?.usd).toBeNull();
    expect(one(told('done')).cost).toBeNull();
  });

  test('a warning of several is told once', () => {
    const plan = { warnings: ['a', 'b'] } as unknown as LinkedJob['plan'];
    const receipt = { warnings: ['a', 'b', 'c'] } as unknown as LinkedJob['receipt'];
    expect(one(told('queued', { plan }), told('done', { plan, receipt })).warnings).toEqual(['a', 'b', 'c']);
  });

  test('the place in line is the first job’s, while none has got out of it', () => {
    const queue = { position: 4, eta_ms: 100 };
    expect(one(told('queued', { queue }), told('queued', { queue: { position: 5, eta_ms: 200 } })).queue).toEqual(
      queue,
    );
    expect(one(told('running'), told('queued', { queue })).queue).toBeNull();
  });
});

test('the first job speaks for all, every other one for itself', () => {
  const batch = { jobs: ['job_1', 'job_2'], inline: false };
  expect(jobsOf({ id: 'job_1' })).toEqual(['job_1']);
  expect(jobsOf({ id: 'job_1', batch })).toEqual(['job_1', 'job_2']);
  expect(jobsOf({ id: 'job_2', batch })).toEqual(['job_2']);
  expect([isSpokenFor({ id: 'job_1' }), isSpokenFor({ id: 'job_1', batch })]).toEqual([false, false]);
  expect(isSpokenFor({ id: 'job_2', batch })).toBe(true);
});
