/** What is said of pictures that stand side by side. */
import { describe, expect, test } from 'vitest';
import { countDone, isOver, tileName, tileState } from '../../playground/beside/tile.js';

const job = (id: string, preset: string | null, seed: number, prompt = 'a fox') => ({ id, preset, seed, prompt });
const named = (all: ReturnType<typeof job>[], pinned: string | null = null): string[] =>
  all.map((each) => tileName(each, all, pinned));

describe('a picture is named', () => {
  test('by what differs, and in full where nothing does', () => {
    expect(named([job('a', '7x', 1), job('b', '7x', 2)])).toEqual(['seed 1', 'seed 2']);
    expect(named([job('a', '7x', 1), job('b', null, 1)])).toEqual(['7x', 'custom']);
    expect(named([job('a', '7x', 1), job('b', '7x', 1)])).toEqual(['7x · seed 1', '7x · seed 1']);
  });

  test('without regard to the pinned one, where there are others to tell it from', () => {
    const all = [job('a', '4x', 9, 'a car'), job('b', '7x', 1), job('c', '4x', 1)];
    expect(named(all, 'a')).toEqual(['“a car” · 4x · seed 9 · pinned', '7x', '4x']);
    expect(named(all.slice(0, 2), 'a')).toEqual(['“a car” · 4x · seed 9 · pinned', '“a fox” · 7x · seed 1']);
  });

  test('by the beginning of a long prompt, cut between characters', () => {
    const [long, short] = named([job('a', '7x', 1, '🍎'.repeat(16_000)), job('b', '7x', 1, '🍎'.repeat(60))]);
    expect(long).toBe(`“${'🍎'.repeat(60)}…”`);
    expect(short).toBe(`“${'🍎'.repeat(60)}”`);
  });
});

test('only a picture that is there has taken a time', () => {
  const receipt = { stages: [{ stage: 1, steps: 2, wall_ms: 10, compute_ms: 7 }] } as never;
  expect(tileState({ status: 'done', receipt })).toBe('7.0 ms of denoising');
  for (const status of ['cancelled', 'failed', 'running'] as const) expect(tileState({ status, receipt })).toBe(status);
});

test('how many are there is a sentence', () => {
  expect(countDone(['done', 'running', undefined])).toBe('1 of 3 pictures is there.');
  expect(countDone(['done', 'done', 'cancelled'])).toBe('2 of 3 pictures are there.');
  expect(countDone(['done', 'done'])).toBe('All 2 pictures are there.');
  expect([undefined, 'queued', 'running', 'done', 'failed', 'cancelled'].filter(isOver)).toEqual([
    'done',
    'failed',
    'cancelled',
  ]);
});
