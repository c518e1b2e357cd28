import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  addColumns,
  availableOf,
  balanceOf,
  type Entry,
  effectOf,
  endId,
  entryOf,
  hold,
  holdId,
  isExact,
  isSame,
  LEDGER_ACCOUNTS,
  NOTHING,
  resolve,
  sumOf,
} from '../../src/billing/ledger.ts';

const amount = fc.integer({ min: 0, max: 1e9 });

/** Entries in an order that may happen: postings, and holds of which some are resolved later. */
const entries = fc
  .array(
    fc.oneof(
      fc.record({ kind: fc.constant('post' as const), amount: fc.integer({ min: -1e9, max: 1e9 }) }),
      fc.record({ kind: fc.constant('hold' as const), amount }),
      fc.record({ kind: fc.constant('resolve' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
    ),
    { maxLength: 40 },
  )
  .map((steps) => {
    const held: { job: string; amount: number }[] = [];
    return steps.flatMap((step, i): Entry[] => {
      if (step.kind === 'post')
        return [entryOf({ id: `p${i}`, kind: 'adjustment', amount: step.amount, job: null, reason: null }, i)];
      if (step.kind === 'hold') {
        held.push({ job: `j${i}`, amount: step.amount });
        return [hold(`j${i}`, step.amount, i)];
      }
      const first = held.shift();
      return first ? [resolve(first.job, Math.floor(first.amount * step.share), i)] : [];
    });
  });

test('debits and credits of all accounts are equal, pending and posted each', () => {
  fc.assert(
    fc.property(entries, (all) => {
      const sums = sumOf(all);
      const total = LEDGER_ACCOUNTS.map((account) => sums[account]).reduce(addColumns, NOTHING);
      expect([total.debitsPending, total.debitsPosted]).toEqual([total.creditsPending, total.creditsPosted]);
    }),
  );
});

test('the columns are what the effects of the entries add up to, in whatever way they are added', () => {
  fc.assert(
    fc.property(entries, (all) => {
      const held = new Map(all.filter(({ kind }) => kind === 'hold').map(({ job, amount: of }) => [job, of]));
      const added = Object.fromEntries(LEDGER_ACCOUNTS.map((account) => [account, NOTHING]));
      for (const entry of all.toReversed()) {
        const { debited, credited } = effectOf(entry, entry.kind === 'hold' ? 0 : (held.get(entry.job) ?? 0));
        added[entry.debit] = addColumns(added[entry.debit] ?? NOTHING, debited);
        added[entry.credit] = addColumns(added[entry.credit] ?? NOTHING, credited);
      }
      expect(added).toEqual(sumOf(all));
    }),
  );
});

test('what is pending is what is held and not resolved', () => {
  fc.assert(
    fc.property(entries, (all) => {
      const ended = new Set(all.filter(({ kind }) => kind === 'capture' || kind === 'release').map(({ job }) => job));
      const open = all.filter(({ kind, job }) => kind === 'hold' && !ended.has(job));
      expect(sumOf(all).balance.debitsPending).toBe(open.reduce((sum, entry) => sum + entry.amount, 0));
    }),
  );
});

test('a hold takes from what is available and not from the balance; a capture gives back the rest', () => {
  const paid = entryOf({ id: 'a', kind: 'top_up', amount: 100, job: null, reason: null }, 0);
  const held = sumOf([paid, hold('j', 60, 1)]).balance;
  expect([balanceOf(held), availableOf(held, 0)]).toEqual([100, 40]);
  const captured = sumOf([paid, hold('j', 60, 1), resolve('j', 25, 2)]).balance;
  expect([balanceOf(captured), availableOf(captured, 0)]).toEqual([75, 75]);
  const released = sumOf([paid, hold('j', 60, 1), resolve('j', 0, 2)]).balance;
  expect([balanceOf(released), availableOf(released, 0), availableOf(released, 50)]).toEqual([100, 100, 150]);
  expect(availableOf(released, null)).toBeNull();
});

test('what resolves a hold has one id for each job, so it can be stored once', () => {
  expect([resolve('j', 5, 1).id, resolve('j', 0, 2).id]).toEqual([endId('j'), endId('j')]);
  expect([resolve('j', 5, 1).kind, resolve('j', 0, 2).kind]).toEqual(['capture', 'release']);
  expect(hold('j', 5, 1).id).toBe(holdId('j'));
});

test('a hold that is resolved twice, or never was, is a mistake that is named', () => {
  expect(() => sumOf([hold('j', 5, 0), resolve('j', 5, 1), resolve('j', 0, 2)])).toThrow(
    'entry end:j resolves no hold',
  );
  expect(() => sumOf([resolve('j', 5, 1)])).toThrow(RangeError);
});

test('an adjustment below zero takes, and a refund comes out of sales', () => {
  const taken = entryOf({ id: 'a', kind: 'adjustment', amount: -7, job: null, reason: 'x' }, 3);
  expect(taken).toMatchObject({ debit: 'balance', credit: 'adjustments', amount: 7 });
  const refund = entryOf({ id: 'r', kind: 'refund', amount: 7, job: 'j', reason: null }, 3);
  expect(refund).toMatchObject({ debit: 'sales', credit: 'balance', amount: 7, job: 'j' });
});

test('a posting that comes twice is the same whenever it comes and whatever reason it gives', () => {
  const posting = { id: 'a', kind: 'top_up', amount: 5, job: null, reason: 'one' } as const;
  expect(isSame(entryOf(posting, 1), entryOf({ ...posting, reason: 'two' }, 2))).toBe(true);
  expect(isSame(entryOf(posting, 1), entryOf({ ...posting, amount: 6 }, 1))).toBe(false);
  expect(isSame(entryOf(posting, 1), entryOf({ ...posting, kind: 'adjustment' }, 1))).toBe(false);
});

test('sums that a double does not count exactly are told apart', () => {
  expect(isExact({ ...NOTHING, creditsPosted: 8e15 })).toBe(true);
  expect(isExact({ ...NOTHING, creditsPosted: 8e15 + 2 })).toBe(false);
  expect(isExact({ ...NOTHING, debitsPending: -1 })).toBe(false);
});
