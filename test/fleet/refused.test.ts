/** When those may come back who were refused: laws over random askers, then examples with numbers. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { makeRefused } from '../../src/fleet/refused.ts';

const T = 1_700_000_000_000;

test('however often others ask, one account is told at most one request of each of them more', () => {
  const anyOther = fc.record({ account: fc.nat(5).map((i) => `other${i}`), times: fc.integer({ min: 1, max: 200 }) });
  fc.assert(
    fc.property(fc.array(anyOther, { maxLength: 12 }), fc.integer({ min: 1000, max: 60_000 }), (others, leastMs) => {
      const refused = makeRefused();
      for (const { account, times } of others)
        for (let i = 0; i < times; i++) refused.refuse({ account, leastMs, ownMs: 2000 }, T);
      const accounts = new Set(others.map(({ account }) => account)).size;
      const ms = refused.refuse({ account: 'me', leastMs, ownMs: 2000 }, T);
      expect(ms).toBe(leastMs + accounts * 2000);
    }),
  );
});

test('those of different accounts come back one after the other, and so do those of one account', () => {
  const refused = makeRefused();
  const refuse = (account: string) => refused.refuse({ account, leastMs: 5000, ownMs: 1000 }, T);
  expect(['a', 'b', 'c', 'a', 'a', 'b'].map(refuse)).toEqual([5000, 6000, 7000, 6000, 7000, 7000]);
});

test('nobody is told more than ten minutes, and whoever came back is ahead of nobody', () => {
  const refused = makeRefused();
  expect(refused.refuse({ account: 'a', leastMs: 1e9, ownMs: 1000 }, T)).toBe(600_000);
  expect(refused.refuse({ account: 'b', leastMs: 1000, ownMs: 1000 }, T)).toBe(2000);
  expect(refused.refuse({ account: 'c', leastMs: 1000, ownMs: 1000 }, T + 600_000)).toBe(1000);
});

test('of very many accounts those are remembered that were refused last', () => {
  const refused = makeRefused();
  for (let i = 0; i < 5000; i++) refused.refuse({ account: `a${i}`, leastMs: 1000, ownMs: 1 }, T);
  expect(refused.refuse({ account: 'me', leastMs: 1000, ownMs: 1 }, T)).toBe(2000);
});
