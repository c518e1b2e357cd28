import { describe, expect, test } from 'vitest';
import { type Profile, sumProfile } from '../../scripts/bench/profile.ts';

const named = (id: number, functionName: string, children: readonly number[] = []) => ({
  id,
  callFrame: { functionName },
  children,
});

// walk calls canny, which calls sum; canny is also called by nobody of ours
const PROFILE: Profile = {
  nodes: [
    named(1, '(root)', [2, 3, 4, 5, 8]),
    named(2, '(idle)'),
    named(3, '(program)'),
    named(4, '(garbage collector)'),
    named(5, 'walk', [6]),
    named(6, 'canny', [7]),
    named(7, 'sum'),
    named(8, 'canny'),
  ],
  samples: [2, 3, 4, 5, 6, 7, 7, 8],
  timeDeltas: [9000, 9000, 100, 200, 300, 400, 500, 600],
};

describe('a profile', () => {
  test('is busy with all but what is idle and outside of JavaScript', () => {
    expect(sumProfile(PROFILE, new Set(), 1000).busy).toBeCloseTo(2.1, 9);
    expect(sumProfile(PROFILE, new Set(), 1000).garbage).toBeCloseTo(0.1, 9);
  });

  test('counts a function with all that it calls, once where it calls another of the names', () => {
    expect(sumProfile(PROFILE, new Set(['canny']), 1000).within).toBeCloseTo(1.8, 9);
    expect(sumProfile(PROFILE, new Set(['canny', 'sum']), 1000).within).toBeCloseTo(1.8, 9);
    expect(sumProfile(PROFILE, new Set(['none']), 1000).within).toBe(0);
  });

  test('counts a sample after a pause for no more than the longest', () => {
    const paused = { ...PROFILE, samples: [5, 5], timeDeltas: [200, 5_000_000] };
    expect(sumProfile(paused, new Set(), 1000).busy).toBeCloseTo(1.2, 9);
  });
});
