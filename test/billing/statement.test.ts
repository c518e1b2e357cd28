/** Statements: what each entry changes, and where it leaves the ledger, read in one page or in many. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { balanceOf, type Entry, entryOf, hold, resolve, sumOf } from '../../src/billing/ledger.ts';
import { type Statement, statementLines } from '../../src/billing/statement.ts';

type Line = Statement['entries'][number];

/** A history in which every hold is above what is captured of it. */
const history = fc
  .array(fc.tuple(fc.constantFrom('top_up', 'take', 'job', 'open'), fc.integer({ min: 1, max: 1e9 }), fc.nat(100)))
  .map((steps): readonly Line[] => {
    const entries = steps.flatMap(([kind, amount, percent], i): readonly (Entry & { resolves: number })[] => {
      if (kind === 'top_up' || kind === 'take') {
        const signed = kind === 'top_up' ? amount : -amount;
        const posting = { id: `p${i}`, amount: signed, job: null, reason: null };
        return [{ ...entryOf({ ...posting, kind: kind === 'top_up' ? 'top_up' : 'adjustment' }, i), resolves: 0 }];
      }
      const held = { ...hold(`job${i}`, amount, i), resolves: 0 };
      const end = { ...resolve(`job${i}`, Math.floor((amount * percent) / 100), i), resolves: amount };
      return kind === 'open' ? [held] : [held, end];
    });
    return entries.map((entry, i) => ({ ...entry, seq: i + 1 }));
  });

test('the last line stands where the ledger does', () => {
  fc.assert(
    fc.property(history, (entries) => {
      const { balance } = sumOf(entries);
      const last = statementLines({ before: { balance: 0, held: 0 }, entries }).at(-1);
      expect(last?.after ?? { balance: 0, held: 0 }).toEqual({
        balance: balanceOf(balance),
        held: balance.debitsPending,
      });
    }),
  );
});

test('read in pages the lines are the same', () => {
  fc.assert(
    fc.property(history, fc.integer({ min: 1, max: 5 }), (entries, size) => {
      const whole = statementLines({ before: { balance: 0, held: 0 }, entries });
      let before = { balance: 0, held: 0 };
      const paged = Array.from({ length: Math.ceil(entries.length / size) }, (_, i) => {
        const lines = statementLines({ before, entries: entries.slice(i * size, (i + 1) * size) });
        before = lines.at(-1)?.after ?? before;
        return lines;
      }).flat();
      expect(paged).toEqual(whole);
    }),
  );
});
