import { expect, test } from 'vitest';
import { makeReads } from '../../src/account/reads.ts';

const NOW = 1_795_000_000_000;

test('each kind of question has a limit of its own a minute, each key its own, and the refusal says when', () => {
  const reads = makeReads({ quotes: 2, lists: 1, files: 1, polls: 3, shares: 1 });
  const ask = (kind: 'quotes' | 'lists' | 'polls', key = 'a', now = NOW) => reads.take(kind, key, now);
  expect([ask('quotes'), ask('quotes')]).toEqual([null, null]);
  expect(ask('quotes')).toEqual({ limit: 2, retryMs: 30_000 });
  expect(ask('lists')).toBeNull();
  expect(ask('lists')).toMatchObject({ limit: 1 });
  expect(ask('quotes', 'b')).toBeNull();
  expect(ask('quotes', 'a', NOW + 30_000)).toBeNull();
  expect(ask('polls')).toBeNull();
});
