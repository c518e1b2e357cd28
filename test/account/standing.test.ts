import { expect, test } from 'vitest';
import { makeStandings, READ_AGE_MS, refuseKey, type Standing } from '../../src/account/standing.ts';

const KEY = { account: 'acct_1', id: '1', hashes: ['h'] };
const STANDING: Standing = { hash: 'h', scopes: ['read'], expiresAt: null, revokedAt: null };

/** Standings at a clock of the test's own, and an account that counts how often it is asked. */
function rig(maxKeys?: number) {
  let now = 1_000_000;
  let asked = 0;
  let answer: Standing | null = STANDING;
  const standings = makeStandings(() => now, maxKeys);
  return {
    standings,
    pass: (ms: number) => {
      now += ms;
    },
    say: (next: Standing | null) => {
      answer = next;
    },
    asked: () => asked,
    ask: async () => {
      asked += 1;
      return answer;
    },
  };
}

test('a hundred reads in 30 s ask the account once; the next asks again', async () => {
  const { standings, pass, ask, asked } = rig();
  for (let i = 0; i < 100; i++) {
    expect(await standings.of(KEY, READ_AGE_MS, ask)).toBe(STANDING);
    pass(READ_AGE_MS / 100);
  }
  expect(asked()).toBe(1);
  await standings.of(KEY, READ_AGE_MS, ask);
  expect(asked()).toBe(2);
});

test('what must be known now is asked now', async () => {
  const { standings, ask, asked } = rig();
  for (let i = 0; i < 3; i++) await standings.of(KEY, 0, ask);
  expect(asked()).toBe(3);
});

test('a revoked key opens nothing after 30 s at the latest, and at once where it was revoked', async () => {
  const { standings, pass, ask, say } = rig();
  await standings.of(KEY, READ_AGE_MS, ask);
  const revoked = { ...STANDING, revokedAt: 1 };
  say(revoked);
  pass(READ_AGE_MS - 1);
  expect(await standings.of(KEY, READ_AGE_MS, ask)).toBe(STANDING);
  pass(1);
  expect(await standings.of(KEY, READ_AGE_MS, ask)).toBe(revoked);
  say(STANDING);
  standings.forget(KEY);
  expect(await standings.of(KEY, READ_AGE_MS, ask)).toBe(STANDING);
});

test('a clock that steps back makes no answer last longer', async () => {
  const { standings, pass, ask, asked } = rig();
  await standings.of(KEY, READ_AGE_MS, ask);
  pass(-3_600_000);
  await standings.of(KEY, READ_AGE_MS, ask);
  expect(asked()).toBe(2);
});

test('a key that its account does not know is not remembered, nor one more than there is room for', async () => {
  const { standings, ask, say, asked } = rig(2);
  say(null);
  for (let i = 0; i < 2; i++) expect(await standings.of(KEY, READ_AGE_MS, ask)).toBeNull();
  expect([asked(), standings.knows(KEY)]).toEqual([2, false]);
  say(STANDING);
  for (const id of ['1', '2', '3']) await standings.of({ ...KEY, id }, READ_AGE_MS, ask);
  expect(['1', '2', '3'].map((id) => standings.knows({ ...KEY, id }))).toEqual([false, true, true]);
  expect(standings.knows({ ...KEY, id: '2', hashes: ['other'] })).toBe(false);
});

test('a key opens unless its account does not know it, has revoked it, or its time is over', () => {
  const at = (standing: Standing | null, now = 100) => refuseKey(standing, KEY, now);
  expect(at(STANDING)).toBeNull();
  expect(at(null)).toBe('unknown');
  expect(at({ ...STANDING, hash: 'other' })).toBe('unknown');
  expect(at({ ...STANDING, revokedAt: 50 })).toBe('revoked');
  expect(at({ ...STANDING, expiresAt: 101 })).toBeNull();
  expect(at({ ...STANDING, expiresAt: 100 })).toBe('expired');
});
