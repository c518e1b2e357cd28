import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  blameOf,
  type Fault,
  FEATURE_LOST,
  isWaiting,
  mayStillRun,
  reasonOf,
  slotOutcomeOf,
} from '../../src/job/failures.ts';
import type { JobRecord, JobRequest, Plan } from '../../src/job/job.ts';
import { draftRequest, type RequestInput } from '../../src/job/plan-request.ts';
import {
  afterFault,
  excessWork,
  isOutOfPatience,
  type Met,
  newRecord,
  type Patience,
  pauseLeft,
  payingOf,
  timeLeft,
  timesAfter,
  whileWaiting,
} from '../../src/job/record.ts';
import { FLUX, planOn, value } from './requests.ts';

const PATIENCE: Patience = { attempts: 3, queueMs: 900_000 };
/** The stage came to nothing nowhere yet, and there is one server. */
const FIRST: Met = { reported: 0, faultsThere: 0, elsewhere: 0, hasOther: false, isDispatched: false };
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
const reported = (code: string, retryable: boolean): Fault => ({ reason: 'reported', code, message: 'm', retryable });
const refused = (code: string): Fault => ({ reason: 'refused', status: 422, code, message: 'm' });

const OF_SERVER: readonly Fault[] = [
  CUT,
  NOBODY_THERE,
  { reason: 'server_error', status: 500 },
  { reason: 'gateway', status: 404 },
  { reason: 'invalid_response', detail: '' },
  { reason: 'timeout', kind: 'silence', ms: 1 },
  { reason: 'timeout', kind: 'total', ms: 1 },
  ...['unauthorized', 'unknown_model', 'broken_body', 'stage_conflict', 'feature_lost'].map(refused),
];
/** A server says itself that the stage failed there. */
const REPORTED: readonly Fault[] = [
  reported('model_failed', true),
  reported('draining', true),
  reported('model_changed', false),
  reported('engine_changed', false),
];
const OF_JOB: readonly Fault[] = [refused('out_of_range'), refused('too_large'), reported('not_finite', false)];
const OF_NOBODY: readonly Fault[] = [
  BUSY,
  { reason: 'no_server' },
  { reason: 'aborted' },
  reported('cancelled', false),
];
const OF_BUCKET: Fault = { reason: 'storage_failed', detail: 'x' };
const ALL: readonly Fault[] = [...OF_SERVER, ...REPORTED, ...OF_JOB, ...OF_NOBODY, OF_BUCKET];
const anyFault = fc.constantFrom(...ALL);
const anyMet = fc.record({
  reported: fc.nat(1),
  faultsThere: fc.nat(1000),
  elsewhere: fc.nat(64),
  hasOther: fc.boolean(),
  isDispatched: fc.boolean(),
});

const verdictOn = (job: JobRecord, fault: Fault, now: number, met = FIRST, patience = PATIENCE) =>
  afterFault(job, 1, fault, { patience, met, now });

describe('a fault', () => {
  test('is of the server, the job, the bucket, or of nobody', () => {
    for (const fault of [...OF_SERVER, ...REPORTED]) expect([fault, blameOf(fault)]).toEqual([fault, 'server']);
    for (const fault of OF_JOB) expect([fault, blameOf(fault)]).toEqual([fault, 'job']);
    for (const fault of OF_NOBODY) expect([fault, blameOf(fault)]).toEqual([fault, 'nobody']);
    expect(blameOf(OF_BUCKET)).toBe('bucket');
  });

  test('of the server puts it out, of anybody else it says nothing of the server, and one that is busy says how long', () => {
    for (const fault of ALL) {
      const kind = blameOf(fault) === 'server' ? 'wrong' : fault.reason === 'busy' ? 'busy' : 'dropped';
      expect(slotOutcomeOf(fault, 0)).toMatchObject({ kind });
    }
    expect(slotOutcomeOf({ reason: 'busy', retryAfterMs: 3000 }, 0)).toEqual({ kind: 'busy', retryMs: 3000 });
    expect(slotOutcomeOf({ reason: 'gateway', status: 404 }, 0)).toEqual({
      kind: 'wrong',
      what: 'Something between here and the stage server answered with status 404.',
    });
  });

  test('of a stage at which two others failed is held against nobody, but for who does not even take it', () => {
    for (const fault of OF_SERVER) {
      expect(slotOutcomeOf(fault, 1).kind).toBe('wrong');
      const mayBeOfStage =
        ['server_error', 'invalid_response', 'timeout'].includes(fault.reason) ||
        ('code' in fault && fault.code === FEATURE_LOST);
      expect([fault, slotOutcomeOf(fault, 2).kind]).toEqual([fault, mayBeOfStage ? 'dropped' : 'wrong']);
    }
    for (const fault of REPORTED) expect(slotOutcomeOf(fault, 2)).toEqual({ kind: 'dropped' });
    expect(slotOutcomeOf({ reason: 'busy', retryAfterMs: 3000 }, 9)).toEqual({ kind: 'busy', retryMs: 3000 });
  });

  test('leaves the stage running where the line broke, and not where the server hangs, refuses or reports', () => {
    expect(ALL.filter(mayStillRun).map(({ reason }) => reason)).toEqual([
      ...['unreachable', 'unreachable', 'gateway', 'aborted'],
    ]);
  });
});

describe('patience is a time, not a count:', () => {
  const CALM = [...OF_SERVER, ...OF_NOBODY, OF_BUCKET];

  test('a fault that is not of the job is tried again however often it came, until the time is over', () => {
    fc.assert(
      fc.property(fc.constantFrom(...CALM), anyMet, fc.nat(10_000), fc.nat(899_999), (fault, met, tries, waited) => {
        const job = record({ tries: 1 + tries, busySince: 1000 });
        // whoever stands in a dispatcher's line was let in by an estimate
        const longest = 900_000 * (isWaiting(fault) && met.isDispatched ? 2 : 1);
        expect(verdictOn(job, fault, 1000 + waited, met).kind).toBe('delay');
        expect(verdictOn(job, fault, 1000 + longest - 1, met).kind).toBe('delay');
        expect(verdictOn(job, fault, 1000 + longest, met)).toMatchObject({ kind: 'end', reason: reasonOf(fault) });
      }),
    );
  });

  test('the time in a line is not held against a stage that fails for the first time', () => {
    const waited = record({ busySince: 1000 });
    for (const fault of CALM) {
      const isTaken = !isWaiting(fault);
      const verdict = verdictOn(waited, fault, 1000 + 900_000);
      expect([fault, verdict.kind]).toEqual([fault, isTaken ? 'delay' : 'end']);
      if (verdict.kind === 'delay') expect(verdict.changes.busySince).toBe(901_000);
    }
  });

  test('only failures that servers report are counted', () => {
    for (const fault of REPORTED) {
      expect(verdictOn(record({ tries: 50 }), fault, 0, { ...FIRST, reported: 1 }).kind).toBe('delay');
      const last = verdictOn(record(), fault, 0, { ...FIRST, reported: 2 });
      // another model or class under the name is no failure of the stage
      if (fault.reason === 'reported' && fault.code.endsWith('_changed')) expect(last.kind).toBe('delay');
      else expect(last).toMatchObject({ kind: 'end', attempts: 1 });
    }
  });

  test('a fault of the job ends it at once, with its name', () => {
    for (const fault of OF_JOB)
      expect(verdictOn(record(), fault, 0)).toMatchObject({ kind: 'end', reason: reasonOf(fault), attempts: 1 });
    expect(OF_JOB.map(reasonOf)).toEqual(['refused', 'refused', 'not_finite']);
  });

  test('no pause ends after the patience, or is longer than half a minute, and none goes back', () => {
    fc.assert(
      fc.property(anyFault, anyMet, fc.nat(899_999), fc.nat(1e9), (fault, met, waited, retryAfterMs) => {
        const job = record({ tries: 1, busySince: 1000 });
        const now = 1000 + waited;
        const verdict = verdictOn(job, fault.reason === 'busy' ? { ...fault, retryAfterMs } : fault, now, met);
        if (verdict.kind === 'end') return;
        const { notBefore = 0 } = verdict.changes;
        expect(notBefore).toBeGreaterThanOrEqual(now);
        const longest = 900_000 * (isWaiting(fault) && met.isDispatched ? 2 : 1);
        expect(notBefore).toBeLessThanOrEqual(Math.min(now + 30_000, 1000 + longest));
      }),
    );
  });

  test('what is tried is counted; what nobody could take is not', () => {
    for (const fault of ALL) {
      const verdict = verdictOn(record({ tries: 1 }), fault, 0);
      const tries = verdict.kind === 'end' ? verdict.attempts : verdict.changes.tries;
      const isNoTry = fault === BUSY || fault === NOBODY_THERE || fault.reason === 'no_server';
      expect([fault, tries]).toEqual([fault, isNoTry ? 1 : 2]);
    }
  });
});

/** When a stage goes out again that meets the same fault each time, and what watchers are told, for `ms`. */
function timesOf(fault: Fault, ms: number, metAt: (faults: number) => Met) {
  let job = record();
  const out: number[] = [];
  const told: string[] = [];
  for (let now = 0; now < ms; now = job.notBefore) {
    const verdict = verdictOn(job, fault, now, metAt(out.length));
    if (verdict.kind === 'end') throw new Error(`it ended after ${now} ms`);
    job = { ...job, ...verdict.changes };
    out.push(job.notBefore);
    if (verdict.event) told.push(verdict.event.type);
  }
  return { out, told, tries: job.tries };
}

describe('the pause', () => {
  const here = (faultsThere: number): Met => ({ ...FIRST, faultsThere });

  test('is none where another server has not been tried, unless the stage is back where it failed', () => {
    const met = { elsewhere: 2, hasOther: true };
    for (const fault of [...OF_SERVER, ...REPORTED]) {
      expect(verdictOn(record(), fault, 5000, { ...here(0), ...met })).toMatchObject({
        changes: { notBefore: 5000, busySince: 5000 },
      });
      // then no other would take it
      const again = verdictOn(record(), fault, 5000, { ...here(1), ...met });
      expect(again.kind === 'delay' && (again.changes.notBefore as number)).toBeGreaterThanOrEqual(5500);
    }
  });

  test('of a busy server is none where a dispatcher gave the slot: that knows when it takes something again', () => {
    const met = { ...FIRST, isDispatched: true };
    expect(verdictOn(record(), { reason: 'busy', retryAfterMs: 3000 }, 5000, met)).toMatchObject({
      changes: { notBefore: 5000, tries: 0 },
    });
  });

  test('grows from the fourth server on, where a stage fails at one after the other', () => {
    const pauses = [2, 3, 4, 5, 60].map((elsewhere) => {
      const verdict = verdictOn(record(), CUT, 0, { ...FIRST, elsewhere, hasOther: true });
      return verdict.kind === 'delay' && verdict.changes.notBefore;
    });
    expect(pauses).toEqual([0, 500, 1000, 2000, 30_000]);
  });

  test('before the same server again doubles, up to half a minute', () => {
    expect(timesOf(CUT, 100_000, here).out).toEqual([
      ...[500, 1500, 3500, 7500, 15_500, 31_500, 61_500, 91_500, 121_500],
    ]);
    expect(verdictOn(record({ tries: 1 }), CUT, 0, here(1))).toMatchObject({
      changes: { tries: 2, notBefore: 1000, busySince: 0 },
      event: { type: 'retry', data: { stage: 1, attempt: 2, reason: 'unreachable', wait_ms: 1000 } },
    });
  });

  test('where nobody is there, or the bucket fails, is as long again as it has been', () => {
    for (const fault of [NOBODY_THERE, OF_BUCKET])
      expect(timesOf(fault, 25_000, () => FIRST).out).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 32_000]);
  });

  test('of a busy server is what it says, within bounds', () => {
    expect(verdictOn(record(), { reason: 'busy', retryAfterMs: 3000 }, 0)).toMatchObject({
      changes: { notBefore: 3000 },
    });
    expect(verdictOn(record(), { reason: 'busy', retryAfterMs: 1e9 }, 0)).toMatchObject({
      changes: { notBefore: 30_000 },
    });
  });

  test('tells watchers once for each wait that is no try, and of every try', () => {
    expect(timesOf(NOBODY_THERE, 60_000, here)).toMatchObject({ told: ['retry'], tries: 0 });
    expect(timesOf({ reason: 'busy', retryAfterMs: 5000 }, 60_000, here)).toMatchObject({
      told: ['queued'],
      tries: 0,
    });
    const cut = timesOf(CUT, 60_000, here);
    expect(cut.told).toEqual(cut.out.map(() => 'retry'));
  });

  test('a server that flaps for all the patience uses up at most forty tries of a job', () => {
    for (const fault of [...OF_SERVER, OF_BUCKET])
      for (const hasOther of [false, true]) {
        const met = (faultsThere: number) => ({ ...here(faultsThere), hasOther });
        expect(timesOf(fault, 869_000, met).out.length).toBeLessThanOrEqual(40);
      }
  });

  test('a clock that steps back begins the wait anew and does not make it longer', () => {
    expect(verdictOn(record({ busySince: 3_600_000 }), { reason: 'busy', retryAfterMs: 800 }, 5000)).toMatchObject({
      changes: { busySince: 5000, notBefore: 5800 },
    });
  });
});

describe('waiting for a slot', () => {
  const wait = (job: JobRecord, now: number, line: { position: number; etaMs: number | null } | null) =>
    whileWaiting(job, 2, line, { patience: PATIENCE, now });
  const LINE = { position: 3, etaMs: 4000 };

  test('in a line that moves a job has twice its patience, in one whose end nobody knows it has it once', () => {
    const waits = (ms: number, etaMs: number | null) => wait(record({ busySince: 0 }), ms, { position: 3, etaMs });
    expect(waits(900_000, null)).toBeNull();
    expect(waits(900_000, 4000)?.lookAt).toBe(1_500_000);
    expect(waits(1_300_000, 4000)?.lookAt).toBe(1_800_000);
    expect(waits(1_799_000, 4000)?.lookAt).toBe(1_800_000);
    expect(waits(1_800_000, 4000)).toBeNull();
  });

  test('is stored and told once: in a line it looks after half a minute, then less and less often', () => {
    for (const etaMs of [null, 0, 4000, 100_000])
      expect(wait(record(), 5000, { position: 3, etaMs })).toEqual({
        changes: { busySince: 5000, notBefore: 35_000 },
        lookAt: 35_000,
        event: { type: 'queued', data: { job_id: 'j', stage: 2, position: 3, eta_ms: etaMs } },
      });
    const next = { changes: null, event: null };
    expect(wait(record({ busySince: 0 }), 30_000, LINE)).toEqual({ ...next, lookAt: 90_000 });
    expect(wait(record({ busySince: 0 }), 89_999, LINE)).toEqual({ ...next, lookAt: 90_000 });
    expect(wait(record({ busySince: 0 }), 90_000, LINE)).toEqual({ ...next, lookAt: 690_000 });
    expect(wait(record({ busySince: 0 }), 690_000, LINE)).toEqual({ ...next, lookAt: 1_290_000 });
  });

  test('in no line it looks again after a second, and then after twice as long each time', () => {
    expect(wait(record(), 5000, null)?.changes).toEqual({ busySince: 5000, notBefore: 6000 });
    expect(wait(record({ busySince: 0 }), 1000, null)).toMatchObject({ changes: null, lookAt: 3000 });
    expect(wait(record({ busySince: 0 }), 31_000, null)).toMatchObject({ changes: null, lookAt: 63_000 });
    expect(wait(record({ busySince: 0 }), 700_000, null)?.lookAt).toBe(900_000);
  });

  test('costs as many rows in ten minutes as in ten seconds, and two alarms', () => {
    const rowsOf = (waited: number, etaMs: number | null) => {
      let job = record();
      let rows = 0;
      for (let now = 0; now < waited; ) {
        const waits = wait(job, now, { position: 1, etaMs });
        if (!waits) throw new Error('no patience');
        // its row, and its alarm
        rows += (waits.changes ? 1 : 0) + 1;
        job = { ...job, ...waits.changes };
        now = waits.lookAt;
      }
      return rows;
    };
    for (const etaMs of [null, 0, 4000, 600_000])
      expect([10_000, 60_000, 600_000].map((ms) => rowsOf(ms, etaMs))).toEqual([2, 3, 4]);
  });

  test('begins anew where the clock has stepped back', () => {
    const earlier = wait(record({ busySince: 50_000 }), 20_000, LINE);
    expect(earlier).toEqual({ changes: { busySince: 20_000, notBefore: 50_000 }, lookAt: 50_000, event: null });
  });

  test('ends with the patience, to the millisecond, wherever it waits', () => {
    for (const line of [{ position: 3, etaMs: null }, null]) {
      expect(wait(record({ busySince: 1000 }), 900_999, line)?.lookAt).toBe(901_000);
      expect(wait(record({ busySince: 1000 }), 901_000, line)).toBe(null);
    }
    expect(isOutOfPatience(record(), PATIENCE, 1e12)).toBe(false);
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
    expect(pauseLeft({ notBefore: 10 * 60_000 }, 0)).toBe(600_000);
    expect(pauseLeft({ notBefore: HOUR + 500 }, 0)).toBe(0);
  });

  test.each([
    ['entered before', 70, 70],
    ['entered by a clock that is ahead', 130, 100],
    ['that does not say when it was entered', undefined, 100],
  ])('of a job %s begins at %s', (_, enteredAt, createdAt) => {
    const given = {
      account: 'a',
      id: 'j',
      request: {} as JobRequest,
      plan: {} as Plan,
      deadlineAt: null,
      webhook: null,
    };
    expect(newRecord({ ...given, enteredAt }, 100).createdAt).toBe(createdAt);
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
