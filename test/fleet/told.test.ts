/** What a dispatcher answers is taken as what it is, or not at all. */
import { expect, test } from 'vitest';
import { admission, dispatcherView, isSlot, slotAnswer } from '../../src/fleet/told.ts';

const SLOT = { lease: 3, backend: 'a', engineClass: null, features: ['clean_latents'] };
const isThere = (backend: string): boolean => backend === 'a';

test('every answer that a dispatcher gives is taken as it is', () => {
  const answers = [
    { kind: 'slot', slot: SLOT },
    { kind: 'slot', slot: { ...SLOT, engineClass: 'ort/1' } },
    { kind: 'line', position: 1, etaMs: null, isDown: true },
    { kind: 'line', position: 7, etaMs: 1200, isDown: false },
    { kind: 'none', unfit: [{ id: 'b', why: 'drained' }] },
    { kind: 'full', retryMs: 500 },
  ];
  for (const answer of answers) expect(slotAnswer(answer, isThere)).toBe(answer);
  const admissions = [
    { kind: 'come', waiting: 0, waitMs: null },
    { kind: 'come', waiting: 3, waitMs: 400 },
    { kind: 'full', waitMs: 9000, retryMs: 4000 },
    { kind: 'none' },
  ];
  for (const answer of admissions) expect(admission(answer)).toBe(answer);
  const view = { since: 1, servers: [], lines: [] };
  expect(dispatcherView(view)).toBe(view);
});

const ANYTHING: readonly unknown[] = [
  ...[undefined, null, 7, Number.NaN, 'slot', true, [], {}, { kind: null }, { kind: 'what' }, { kind: {} }],
];

test.each([
  ...ANYTHING,
  { kind: 'slot' },
  { kind: 'slot', slot: null },
  { kind: 'slot', slot: { ...SLOT, lease: '3' } },
  { kind: 'slot', slot: { ...SLOT, lease: Number.NaN } },
  { kind: 'slot', slot: { ...SLOT, backend: 'gone' } },
  { kind: 'slot', slot: { ...SLOT, backend: 7 } },
  { kind: 'slot', slot: { ...SLOT, engineClass: undefined } },
  { kind: 'slot', slot: { ...SLOT, features: 'all' } },
  { kind: 'slot', slot: { ...SLOT, features: [7] } },
  { kind: 'line', position: '1', etaMs: null, isDown: true },
  { kind: 'line', position: 1, etaMs: Number.POSITIVE_INFINITY, isDown: true },
  { kind: 'line', position: 1, etaMs: null },
  { kind: 'none' },
  { kind: 'full', retryMs: Number.NaN },
  { kind: 'come', waiting: 0, waitMs: null },
])('no answer to a question for a slot: %j', (value) => {
  expect(() => slotAnswer(value, isThere)).toThrow("the dispatcher's answer is none");
});

test.each([
  ...ANYTHING,
  { kind: 'come' },
  { kind: 'come', waiting: 1, waitMs: 'long' },
  { kind: 'full', waitMs: 1, retryMs: Number.NaN },
  { kind: 'full', retryMs: 1 },
])('no answer to those who want to come: %j', (value) => {
  expect(() => admission(value)).toThrow("the dispatcher's answer is none");
});

test.each([...ANYTHING, { since: 1, servers: [] }, { since: null, servers: [], lines: [] }])(
  'nothing to show operators: %j',
  (value) => {
    expect(() => dispatcherView(value)).toThrow("the dispatcher's answer is none");
    expect(isSlot(value)).toBe(false);
  },
);
