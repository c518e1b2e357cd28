import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { pauseAfter } from '../../src/job/outbox.ts';

const KINDS = ['ended', 'erased', 'picture', 'forget'] as const;

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

  test('an account and a bucket are never given up', () => {
    for (const kind of ['ended', 'erased', 'picture'] as const) expect(pauseAfter(kind, 1_000_000)).not.toBeNull();
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
