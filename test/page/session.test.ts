/** What the page says of a session: pure, so the events are written down here as a job tells them. */
import { describe, expect, test } from 'vitest';
import { comparisonOf, failureOf, sentenceOf } from '../../playground/session/news.js';
import {
  begin,
  besideBegins,
  besideEnds,
  connected,
  isBusy,
  isFruitless,
  partUnderWay,
  type Session,
  statusOf,
  told,
} from '../../playground/session/session.js';
import type { SeenEvent } from '../../src/job/events.ts';
import type { LinkedJob } from '../../src/job/links.ts';

const JOB = { id: 'job_1', preset: '7x', prompt: 'a fox' } as LinkedJob;
const PLAIN = { ...JOB, id: 'job_2', preset: 'plain' } as LinkedJob;

let at = 1000;
const event = (type: string, data: object): SeenEvent => ({ seq: ++at, at, type, data }) as unknown as SeenEvent;
const plan = (...steps: number[]): SeenEvent =>
  event('plan', {
    width: 256,
    height: 256,
    cost: null,
    stages: steps.map((count, i) => ({ stage: i + 1, tokens: 64 * (i + 1), steps: count, sigmas: [] })),
    selected: [],
  });
const stage = (number: number, stages: number, attempt = 1): SeenEvent =>
  event('stage', { stage: number, stages, tokens: 64 * number, steps: 3, attempt });
const step = (number: number, of: number): SeenEvent => event('step', { stage: number, step: of, ms: 10 });
const receipt = (compute_ms: number, ratio: number | null) => ({
  stages: [{ stage: 1, compute_ms }],
  tflops: { denoise: 0.02, ratio },
  wall_ms: { total: 1500 },
});
const done = (compute_ms: number, ratio: number | null = 7.8): SeenEvent =>
  event('done', { image: {}, receipt: receipt(compute_ms, ratio), cost: null });
const failed = (attempts: number): SeenEvent =>
  event('failed', { message: 'The server failed.', attempts, cost: null });
const retry = (reason: string): SeenEvent => event('retry', { stage: 2, attempt: 1, reason, wait_ms: 500 });
const cancelled = (): SeenEvent => event('cancelled', { cost: { usd: '0.000003' } });

const following = (session: Session, ...events: readonly SeenEvent[]): Session =>
  events.reduce((now, each) => told(now, 'main', each), session);
const OPEN = following(begin(JOB, false), plan(2, 3, 5));

describe('what happens now', () => {
  test.each<[string, Session, string]>([
    ['nothing is known', begin(JOB, false), 'Waiting for the first stage.'],
    ['a stage runs', following(OPEN, stage(1, 3), step(1, 1)), 'Stage 1 of 3, step 2 of 2.'],
    ['its last step is done', following(OPEN, stage(1, 3), step(1, 2)), 'Stage 1 of 3, step 2 of 2.'],
    ['it is done', following(OPEN, done(10)), ''],
    ['it has failed', following(OPEN, failed(1)), ''],
    ['it was cancelled', following(OPEN, stage(1, 3), cancelled()), 'Cancelled.'],
    ['the only stage runs', following(begin(JOB, false), plan(50), stage(1, 1), step(1, 27)), 'Step 28 of 50.'],
  ])('while %s', (_, session, sentence) => {
    expect(statusOf(session, null)).toBe(sentence);
  });

  test('a service that does not answer is told, with where the job was', () => {
    const session = connected(following(OPEN, stage(2, 3), step(2, 1)), 'main', { name: 'lost' });
    expect(statusOf(session, null)).toBe('No connection to the service; trying again. Stage 2 of 3, step 2 of 3.');
    expect(statusOf(following(session, step(2, 2)), null)).toBe('Stage 2 of 3, step 3 of 3.');
  });

  test('a stage that is tried again says why, until one of its steps is done', () => {
    const tried = following(OPEN, stage(2, 3), step(2, 1), retry('unreachable'));
    const sentence = 'The stage server cannot be reached; trying again.';
    expect(statusOf(tried, null)).toBe(sentence);
    const again = following(tried, stage(2, 3, 2));
    expect(statusOf(connected(again, 'main', { name: 'quiet', seconds: 9 }), null)).toBe(
      `${sentence} Nothing has been heard for 9 s.`,
    );
    expect(statusOf(following(again, step(2, 1)), null)).toBe('Stage 2 of 3, step 2 of 3.');
    expect(statusOf(following(OPEN, stage(2, 3), retry('eclipse')), null)).toBe(
      'The stage failed (eclipse); trying again.',
    );
  });

  test('silence is told while the service answers', () => {
    const session = connected(following(OPEN, stage(2, 3)), 'main', { name: 'quiet', seconds: 24 });
    expect(statusOf(session, null)).toBe('Stage 2 of 3, step 1 of 3. Nothing has been heard for 24 s.');
  });

  test('what is played again says how fast', () => {
    expect([statusOf(OPEN, 4), statusOf(OPEN, 0.5)]).toEqual([
      'Playing 4.0× slower than it was.',
      'Playing 2.0× faster than it was.',
    ]);
  });
});

describe('a comparison', () => {
  const own = following(following(begin(JOB, true), plan(2, 3, 5)), done(10));
  const beside = besideBegins(own, PLAIN);
  const run = (...events: readonly SeenEvent[]) => events.reduce((now, each) => told(now, 'beside', each), beside);

  test('goes on when the job is done, and says what it does', () => {
    expect([isBusy(own), partUnderWay(own), statusOf(own, null)]).toEqual([
      true,
      'main',
      'The plain model, for comparison.',
    ]);
    expect([partUnderWay(beside), statusOf(run(plan(50), stage(1, 1), step(1, 21)), null)]).toEqual([
      'beside',
      'The plain model, for comparison. Step 22 of 50.',
    ]);
    expect(isBusy(besideEnds(own))).toBe(false);
  });

  test('is announced as the plain model’s, not as stage 1 of 1', () => {
    const event = stage(1, 1);
    expect(sentenceOf(run(plan(50), event), 'beside', event)).toBe('The plain model: 64 tokens, 3 steps.');
    const end = done(75, 1);
    expect(sentenceOf(run(plan(50), end), 'beside', end)).toBe(
      'The plain model’s picture is there, after 1.50 s: 0.0200 TFLOPs of denoising.',
    );
  });

  test('ends in how the two compare', () => {
    expect(comparisonOf(own)).toBeNull();
    expect(comparisonOf(run(plan(50), done(75, 1)))).toBe('The plain model took 7.5× as long to denoise.');
  });
});

describe('what is said of an event', () => {
  const said = (each: SeenEvent): string => sentenceOf(following(OPEN, each), 'main', each);

  test.each<[SeenEvent, string]>([
    [stage(2, 3), 'Stage 2 of 3: 128 tokens, 3 steps.'],
    [stage(2, 3, 2), 'Stage 2, attempt 2.'],
    [done(10), 'The picture is there, after 1.50 s: 0.0200 TFLOPs of denoising, 7.8× less than the plain model.'],
    [cancelled(), 'Cancelled. It cost $0.000003.'],
    [step(1, 1), ''],
    [event('queued', { stage: null, position: null, eta_ms: null }), ''],
  ])('%#', (each, sentence) => {
    expect(said(each)).toBe(sentence);
  });
});

describe('a job without a picture', () => {
  test.each([
    ['failed', failed(3), true],
    ['cancelled', cancelled(), true],
    ['done', done(10), false],
    ['under way', stage(1, 3), false],
  ] as const)('may be tried again: %s', (_, each, may) => {
    expect(isFruitless(following(OPEN, each))).toBe(may);
  });

  test('says why, and how often it was tried', () => {
    expect(failureOf(following(OPEN, failed(3)).main.run)).toBe('The server failed. It was tried 3 times.');
    expect(failureOf(following(OPEN, failed(1)).main.run)).toBe('The server failed.');
    expect(failureOf(OPEN.main.run)).toBeNull();
    expect([isFruitless(null), isBusy(null)]).toEqual([false, false]);
  });
});

test('no step changes the session it begins from', () => {
  const before = structuredClone(OPEN);
  told(OPEN, 'main', stage(1, 3));
  connected(OPEN, 'main', { name: 'lost' });
  besideBegins(OPEN, PLAIN);
  expect(OPEN).toEqual(before);
  expect(told(OPEN, 'beside', stage(1, 1))).toEqual(before);
});
