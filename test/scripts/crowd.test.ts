import { expect, test } from 'vitest';
import { quantile, rankCorrelation, table } from '../../scripts/crowd/figures.ts';
import { type Afterwards, brokenGround, brokenLaws, type GroundAfterwards } from '../../scripts/crowd/laws.ts';
import {
  brokenSights,
  type Look,
  type Seen,
  type Several,
  type Visited,
  type Watched,
} from '../../scripts/crowd/seen-laws.ts';

test('a quantile is the value of the nearest rank', () => {
  const values = Array.from({ length: 100 }, (_, i) => 100 - i);
  expect(quantile(values, 0.5)).toBe(50);
  expect(quantile(values, 0.99)).toBe(99);
  expect(quantile(values, 1)).toBe(100);
  expect(quantile([7], 0.5)).toBe(7);
  expect(quantile([], 0.5)).toBeNaN();
});

test('ranks correlate 1 in one order, -1 in opposite ones, and by Spearman between', () => {
  const of = (order: readonly number[]) => order.map((value, i) => [i, value] as const);
  expect(rankCorrelation(of([3, 5, 80, 90]))).toBe(1);
  expect(rankCorrelation(of([4, 3, 2, 1]))).toBe(-1);
  // d² = 0 + 1 + 1 + 0, 1 - 6 · 2 / (4 · 15)
  expect(rankCorrelation(of([1, 3, 2, 4]))).toBeCloseTo(0.8, 12);
});

test('columns of a table are as wide as their widest cell', () => {
  expect(
    table([
      ['a', 'bb'],
      ['cccc', 'd'],
    ]),
  ).toBe('a     bb\ncccc  d');
});

const cost = { usd: '0.00005', quote_usd: '0.00006', plain_usd: '0.00007', tariff: '1' };
const job = (id: string) => ({ id, status: 'done' as const, error: null, cost });
const RIGHT: Afterwards = {
  answers: new Map([
    ['one', { id: 'job_1' }],
    ['two', { id: 'job_2' }],
  ]),
  ended: new Map([
    ['job_1', job('job_1')],
    ['job_2', job('job_2')],
  ]),
  listed: [job('job_1'), job('job_2')],
  ...{ open: 0, spent: 100, held: 0 },
  pictures: ['job_1', 'job_2'],
  digests: new Map([[1, new Set(['x'])]]),
  differences: [],
  streams: new Map([['job_1', streamOf(['queued', 'stage', 'done'])]]),
};

/** Stored events of these types, as a stream has them; a step is only told. */
function streamOf(types: readonly string[], first = 1): string {
  return types.map((type, i) => `id: ${first + i}\nevent: ${type}\ndata: {}\n\n`).join('event: step\ndata: {}\n\n');
}

test('after a right crowd every law holds', () => {
  expect(brokenLaws(RIGHT)).toEqual([]);
});

test.each<[string, Partial<Afterwards>]>([
  ['no start is refused', { answers: new Map([...RIGHT.answers, ['x', { status: 503, code: '', retryAfter: 1 }]]) }],
  ['no job is doubled', { answers: new Map([...RIGHT.answers, ['three', { id: 'job_2' }]]) }],
  ['no job is lost', { listed: [job('job_1')] }],
  [
    'the account lists what was started, and nothing else',
    { listed: [...RIGHT.listed, job('job_3')], pictures: RIGHT.pictures },
  ],
  ['no job is stranded', { ended: new Map([['job_1', job('job_1')]]) }],
  ['no job is listed twice', { listed: [...RIGHT.listed, job('job_2')] }],
  [
    'alike jobs cost alike',
    { ended: new Map([...RIGHT.ended, ['job_2', { ...job('job_2'), cost: { ...cost, usd: '0.00007' } }]]) },
  ],
  ['ledger, jobs and outbox agree', { differences: [{ kind: 'unbalanced' }] }],
  ...['', streamOf(['queued', 'done'], 2), streamOf(['queued']), streamOf(['done', 'done']), streamOf(['failed'])].map(
    (text): [string, Partial<Afterwards>] => [
      'no event is lost or doubled, and the last one tells the end',
      { streams: new Map([['job_1', text]]) },
    ],
  ),
  ['no job is stranded', { ended: new Map([...RIGHT.ended, ['job_2', { ...job('job_2'), status: 'running' }]]) }],
  ['counts are at zero', { open: 1 }],
  ['counts are at zero', { held: 3 }],
  ['what was spent is what the jobs say they cost', { spent: 150 }],
  ['every finished job has its picture', { pictures: ['job_1'] }],
  ['the same job gives the same bytes', { digests: new Map([[1, new Set(['x', 'y'])]]) }],
])('%s', (law, wrong) => {
  expect(brokenLaws({ ...RIGHT, ...wrong }).some((sentence) => sentence.startsWith(`${law}: `))).toBe(true);
});

const SOUND: GroundAfterwards = {
  ...{ strays: [], pictures: ['job_1'], jobs: ['job_1', 'job_2'], slotsHeld: 0, waiting: 0 },
  memory: { firstBytes: 20e6, lastBytes: 30e6, jobs: 1000 },
};

test('of a deployment that is sound every law holds', () => {
  expect(brokenGround(SOUND)).toEqual([]);
  expect(brokenGround({ ...SOUND, memory: null })).toEqual([]);
});

test.each<[string, Partial<GroundAfterwards>]>([
  ['the bucket has nothing but pictures of jobs', { strays: ['jobs/job_1/latents'] }],
  ['the bucket has nothing but pictures of jobs', { pictures: ['job_1', 'job_9'] }],
  ['a job has one picture', { pictures: ['job_1', 'job_1'] }],
  ['no slot is lost and nobody waits', { slotsHeld: 1 }],
  ['no slot is lost and nobody waits', { waiting: 1 }],
  ['memory does not grow', { memory: { firstBytes: 20e6, lastBytes: 40e6, jobs: 1000 } }],
])('%s', (law, wrong) => {
  const broken = brokenGround({ ...SOUND, ...wrong });
  expect(broken).toHaveLength(1);
  expect(broken[0]).toMatch(new RegExp(`^${law}: `));
});

const SEEN: Seen = {
  watched: [{ job: 'job_1', ids: [1, 2, 3], last: 'done', thumbnails: [{ isStored: false, bytes: 4096 }] }],
  several: [
    { name: 'a', count: 3, status: 'succeeded', pictures: 3, had: 3, error: null, ends: ['done', 'done', 'done'] },
    {
      name: 'b',
      count: 3,
      status: 'failed',
      pictures: 0,
      had: 0,
      error: 'no server',
      ends: ['done', 'failed', 'done'],
    },
  ],
  visited: [
    // opened, away, not now, opened while its end was on its way, shut
    visit([look(1000, 1100, 200), look(1200, 1300, 0), look(1300, 1400, 503), look(4900, 5200, 200)]),
    visit([look(4900, 5050, 404), look(6100, 6200, 404)]),
    { ...visit([look(10_900, 10_950, 200), look(9_950, 10_000, 404)]), endAskedAt: null, endedAt: null },
  ],
};

function look(from: number, to: number, status: number): Look {
  return { path: '/s/x', from, to, status };
}
/** A share that runs out at 10 s, and was ended between 5 and 6 s. */
function visit(looks: readonly Look[]): Visited {
  return { job: 'job_1', expiresAt: 10, endAskedAt: 5000, endedAt: 6000, looks };
}
const [WATCHED, SEVERAL] = [SEEN.watched[0] as Watched, SEEN.several[0] as Several];
const OPEN = 'a share opens exactly while it should';
const WHOLE = 'a request for several pictures has all of them, or says why it has not';
const ORDER = 'who watches through cuts sees every stored event once, in order, and the end last';

test('after what was rightly seen every law holds', () => {
  expect(brokenSights(SEEN)).toEqual([]);
});

test.each<[string, Partial<Seen>]>([
  [ORDER, { watched: [{ ...WATCHED, ids: [1, 3] }] }],
  [ORDER, { watched: [{ ...WATCHED, ids: [1, 2, 2] }] }],
  [ORDER, { watched: [{ ...WATCHED, last: 'step' }] }],
  ['a thumbnail is small, and never stored', { watched: [{ ...WATCHED, thumbnails: [{ isStored: true, bytes: 9 }] }] }],
  [
    'a thumbnail is small, and never stored',
    { watched: [{ ...WATCHED, thumbnails: [{ isStored: false, bytes: 4097 }] }] },
  ],
  [WHOLE, { several: [{ ...SEVERAL, pictures: 2 }] }],
  [WHOLE, { several: [{ ...SEVERAL, had: 2 }] }],
  [WHOLE, { several: [{ ...SEVERAL, ends: ['done', 'done', 'failed'] }] }],
  [WHOLE, { several: [{ ...SEVERAL, status: 'failed', error: '' }] }],
  [WHOLE, { several: [{ ...SEVERAL, status: 'processing' }] }],
  [OPEN, { visited: [visit([look(6001, 6100, 200)])] }],
  [OPEN, { visited: [visit([look(4000, 4900, 404)])] }],
  [OPEN, { visited: [visit([look(1000, 1100, 401)])] }],
  [OPEN, { visited: [{ ...visit([look(11_000, 11_100, 200)]), endAskedAt: null, endedAt: null }] }],
  [OPEN, { visited: [{ ...visit([look(9_000, 9_999, 404)]), endAskedAt: null, endedAt: null }] }],
])('%s, or it is said: %#', (law, seen) => {
  const broken = brokenSights({ ...SEEN, ...seen });
  expect(broken).toHaveLength(1);
  expect(broken[0]).toMatch(new RegExp(`^${law}: 1, `));
});

test('a stream that keeps a thumbnail is named', () => {
  const streams = new Map([['job_1', streamOf(['queued', 'thumbnail', 'done'])]]);
  expect(brokenLaws({ ...RIGHT, streams })).toEqual([expect.stringContaining('a thumbnail was stored')]);
});
