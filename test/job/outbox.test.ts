import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { EndedFacts } from '../../src/billing/usage-event.ts';
import type { JobRecord } from '../../src/job/job.ts';
import {
  LONGEST_WAIT,
  lettersAfterSettling,
  lettersAtEnd,
  lettersAtErasure,
  pauseAfter,
  pauseAfterFault,
  type SentStage,
} from '../../src/job/outbox.ts';
import type { WebhookEvent } from '../../src/job/webhook.ts';

const KINDS = ['ended', 'event', 'meter', 'erased', 'picture', 'forget'] as const;

describe('pauses between the tries of a letter', () => {
  test.each(KINDS)('%s: they grow to a bound and are never none', (kind) => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100_000 }), (tries) => {
        const pause = pauseAfter(kind, tries);
        const next = pauseAfter(kind, tries + 1);
        if (pause === null) return next === null;
        return pause >= 1000 && pause <= 3_600_000 && (next === null || next >= pause);
      }),
    );
  });

  test.each(KINDS)('%s: none is longer than the wait at which the clock must have stepped back', (kind) => {
    for (let tries = 1; tries < 100; tries++)
      expect(pauseAfter(kind, tries) ?? 0).toBeLessThanOrEqual(LONGEST_WAIT[kind]);
  });

  test('after a fault of ours they grow from a minute to an hour, and stay below that wait', () => {
    for (const kind of [...KINDS, 'webhook', 'expire'] as const) {
      const pauses = Array.from({ length: 50 }, (_, i) => pauseAfterFault(kind, i + 1));
      expect(pauses[0]).toBe(60_000);
      expect(pauses).toEqual(pauses.toSorted((a, b) => a - b));
      expect(pauses.at(-1)).toBe(Math.min(3_600_000, LONGEST_WAIT[kind]));
    }
    expect([1, 2, 3, 7].map((tries) => pauseAfterFault('event', tries))).toEqual([60_000, 120_000, 240_000, 3_600_000]);
  });

  test('an account, a bucket, a sink of events and a meter are never given up', () => {
    for (const kind of ['ended', 'erased', 'picture', 'event', 'meter'] as const)
      expect(pauseAfter(kind, 1_000_000)).not.toBeNull();
  });

  test('a stage server is given up within the minutes in which it forgets by itself', () => {
    const pauses: number[] = [];
    for (let pause = pauseAfter('forget', 1); pause !== null; pause = pauseAfter('forget', pauses.length + 1)) {
      pauses.push(pause);
    }
    expect(pauses.length).toBeGreaterThan(2);
    expect(pauses.reduce((sum, pause) => sum + pause)).toBeLessThan(600_000);
  });
});

const WEBHOOK = {
  url: 'https://example.com/hook',
  door: 'jobs',
  origin: 'https://ralu.example',
  tries: 0,
  state: 'waiting',
} as const;
const record = (changes: Partial<JobRecord> = {}): JobRecord =>
  ({
    id: 'job_1',
    account: 'acct_1',
    request: { format: 'webp', prompt: 'a hippopotamus' },
    plan: { stages: [{}, {}, {}] },
    room: { name: 'stage', stage: 2 },
    webhook: null,
    ...changes,
  }) as unknown as JobRecord;
const SENT: readonly SentStage[] = [
  { backend: 'a', stageId: 's1', worker: null, outcome: 'stored' },
  { backend: 'a', stageId: 's2', worker: null, outcome: 'failed' },
  { backend: 'b', stageId: 's2', worker: 'w1', outcome: 'sent' },
];
const end = (status: 'done' | 'failed' | 'cancelled') => ({
  end: { status, work: null, charge: null, excess: null },
  facts: null,
  expiresAt: 9000,
  now: 1000,
});
const kinds = (letters: ReturnType<typeof lettersAtEnd>) => letters.map(({ letter }) => letter.kind);

describe('what an end has to tell', () => {
  test('the account always and at once; the caller where one asked; at last that the time is over', () => {
    expect(lettersAtEnd(record({ webhook: WEBHOOK }), end('done'), [])).toEqual([
      {
        letter: {
          kind: 'ended',
          payload: {
            account: 'acct_1',
            job: 'job_1',
            facts: null,
            status: 'done',
            work: null,
            charge: null,
            excess: null,
          },
        },
        dueAt: 1000,
      },
      { letter: { kind: 'webhook', payload: null }, dueAt: 1000 },
      { letter: { kind: 'expire', payload: null }, dueAt: 9000 },
    ]);
  });

  test('a caller who wants to hear of the start alone hears of no end', () => {
    const told = (events: readonly WebhookEvent[]) =>
      kinds(lettersAtEnd(record({ webhook: { ...WEBHOOK, events } }), end('done'), []));
    expect(told(['start'])).toEqual(['ended', 'expire']);
    expect(told(['start', 'output'])).toEqual(['ended', 'webhook', 'expire']);
  });

  test('every end stops the stages that may still run for the job, and no others', () => {
    for (const status of ['done', 'failed', 'cancelled'] as const) {
      const letters = lettersAtEnd(record(), end(status), SENT);
      expect(kinds(letters)).toEqual(['ended', 'forget', 'forget', 'expire']);
      expect(letters.slice(1, 3).map(({ letter }) => letter.payload)).toEqual([
        { backend: 'a', stageId: 's2' },
        { backend: 'b', stageId: 's2', worker: 'w1' },
      ]);
    }
  });

  test('a picture that its last stage may still put is removed later than any put may take', () => {
    const letters = lettersAtEnd(record({ room: { name: 'stage', stage: 3 } }), end('cancelled'), []);
    expect(kinds(letters)).toEqual(['ended', 'picture', 'expire']);
    expect(letters[1]?.letter.payload).toEqual({ account: 'acct_1', key: 'jobs/job_1/image.webp' });
    expect(letters[1]?.dueAt).toBeGreaterThan(1000 + 30_000);
  });

  test('an erasure tells every server a request went to, the bucket and the account, and carries no content', () => {
    const letters = lettersAtErasure(record({ webhook: WEBHOOK, tries: 1, finishedAt: 500 }), SENT, 1000);
    expect(kinds(letters)).toEqual(['forget', 'forget', 'forget', 'picture', 'erased']);
    expect(JSON.stringify(letters)).not.toMatch(/hippopotamus|hook/);
  });

  test('an unreadable job may have a picture of any format, and may have been in its last stage', () => {
    const unreadable = record({ failure: { reason: 'unreadable', message: '', stage: null, attempts: 0 } });
    const keys = (letters: ReturnType<typeof lettersAtEnd>) =>
      letters.flatMap(({ letter }) => (letter.kind === 'picture' ? [letter.payload.key] : []));
    const all = ['png', 'webp', 'jpeg'].map((format) => `jobs/job_1/image.${format}`);
    expect(keys(lettersAtErasure(unreadable, [], 1000))).toEqual(all);
    expect(keys(lettersAtEnd(unreadable, end('failed'), []))).toEqual(all);
  });

  test('an erasure looks again for a picture that an earlier try of the last stage may still put', () => {
    const slow = record({ tries: 2, finishedAt: 500 });
    const pictures = (now: number) =>
      lettersAtErasure(slow, [], now).flatMap(({ letter, dueAt }) => (letter.kind === 'picture' ? [dueAt] : []));
    expect(pictures(1000)).toEqual([1000, 60_500]);
    expect(pictures(100_000)).toEqual([100_000]);
  });
});

describe('what follows once the account has taken an end', () => {
  const facts = { status: 'done', finished_at_ms: 5000 } as EndedFacts;
  const ended = { account: 'acct_1', job: 'job_1', facts, ...end('done').end };
  const settled = { captured: 68, at: 6000, keyId: '44f9c212', user: null, meteredCustomer: 'cus_1' };
  const SINK = { hasSink: true, publicUrl: '' };
  const following = (changes: object, sink = SINK) =>
    lettersAfterSettling(ended, { ...settled, ...changes }, sink).map(({ kind }) => kind);

  test('the event with what was charged, and the meter with when and whom', () => {
    const [event, meter] = lettersAfterSettling(ended, settled, SINK);
    expect(event).toMatchObject({ kind: 'event', payload: { id: 'job_1', data: { cost_usd: '0.000068' } } });
    expect(meter).toEqual({
      kind: 'meter',
      payload: {
        account: 'acct_1',
        job: 'job_1',
        customer: 'cus_1',
        micro: 68,
        at: 6000,
        firstTriedAt: null,
        isTaken: false,
      },
    });
  });

  test('no meter where nothing was charged or nobody is billed, no event without a sink', () => {
    expect(following({ captured: 0 })).toEqual(['event']);
    expect(following({ meteredCustomer: null })).toEqual(['event']);
    expect(following({}, { ...SINK, hasSink: false })).toEqual(['meter']);
    expect(lettersAfterSettling(ended, null, SINK).map(({ kind }) => kind)).toEqual(['event']);
  });

  test('nothing of a job that its account does not list: it never began, or came again after its erasure', () => {
    expect(lettersAfterSettling(ended, 'unlisted', SINK)).toEqual([]);
  });

  test('nothing of an end that was stored without facts', () => {
    expect(lettersAfterSettling({ ...ended, facts: null }, null, SINK)).toEqual([]);
    const { facts: _, ...older } = ended;
    expect(lettersAfterSettling(older as typeof ended, null, SINK)).toEqual([]);
  });
});
