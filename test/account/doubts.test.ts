import { expect, test } from 'vitest';
import { makeDoubts, senderOf } from '../../src/account/doubts.ts';

const RATE = { limit: 3, windowMs: 60_000 };

test('an address has so many bad tries, then one more whenever it has waited for it; others are not touched', () => {
  const doubts = makeDoubts(RATE);
  for (let i = 0; i < 3; i++) expect(doubts.take('a', 0)).toBeNull();
  const wait = doubts.take('a', 0) as number;
  expect(wait).toBe(20_000);
  expect(doubts.take('a', wait - 1)).not.toBeNull();
  expect(doubts.take('a', wait)).toBeNull();
  expect(doubts.take('b', 0)).toBeNull();
});

test('good tries cost nothing, in whatever number', () => {
  const doubts = makeDoubts(RATE);
  for (let i = 0; i < 1000; i++) {
    expect(doubts.take('a', 0)).toBeNull();
    doubts.giveBack('a', 0);
  }
  for (let i = 0; i < 3; i++) expect(doubts.take('a', 0)).toBeNull();
  expect(doubts.take('a', 0)).not.toBeNull();
  // nobody gains by giving back what he did not take
  for (let i = 0; i < 9; i++) doubts.giveBack('b', 0);
  for (let i = 0; i < 3; i++) expect(doubts.take('b', 0)).toBeNull();
  expect(doubts.take('b', 0)).not.toBeNull();
});

test('the table has a bound: the address that tried longest ago is forgotten', () => {
  const doubts = makeDoubts({ limit: 1, windowMs: 60_000 }, 2);
  for (const address of ['a', 'b', 'c']) expect(doubts.take(address, 0)).toBeNull();
  expect(['c', 'b', 'a'].map((address) => doubts.take(address, 0) === null)).toEqual([false, false, true]);
});

test.each([
  ['203.0.113.7', '203.0.113.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
  ['2001:0DB8:0001:0002:0:0:0:1', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['', ''],
])('%s is the sender %s', (address, sender) => {
  expect(senderOf(address)).toBe(sender);
});
