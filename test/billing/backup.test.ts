/** A ledger kept outside: as it was exported it has no fault; changed, dropped or doubled in any place it has one. */
import { describe, expect, test } from 'vitest';
import { type BackupRows, backupFault, type LedgerSums } from '../../src/billing/backup.ts';
import { type Entry, entryOf, hold, resolve, sumOf } from '../../src/billing/ledger.ts';

type Rows = { [Part in keyof BackupRows]: BackupRows[Part][number][] };

const posted = (kind: 'top_up' | 'refund' | 'adjustment', amount: number, job: string | null = null): Entry =>
  entryOf({ id: `${kind}${amount}`, kind, amount, job, reason: null }, 1);

/** A ledger of every kind of entry: two jobs charged, one released, one open. */
function ledger(): { readonly sums: LedgerSums; readonly rows: Rows } {
  const entries = [
    posted('top_up', 1000),
    hold('a', 100, 2),
    resolve('a', 60, 3),
    hold('b', 50, 4),
    hold('c', 40, 5),
    resolve('c', 0, 6),
    posted('refund', 10, 'a'),
    posted('adjustment', -5),
    hold('d', 30, 7),
    resolve('d', 30, 8),
  ].map((entry, i) => ({ ...entry, seq: i + 1 }));
  const charge = (job: string, held: number, captured: number | null, refunded = 0) => ({
    job,
    at: 2,
    keyId: '01234567',
    user: job === 'a' ? 'ann' : null,
    model: 'flux',
    tariff: 't1',
    held,
    captured,
    mflop: captured === null ? null : captured * 10,
    endedAt: captured === null ? null : 9,
    refunded,
    meter: null,
  });
  const cell = (dimension: 'day' | 'key' | 'model', name: string) => ({
    day: '2026-11-27',
    dimension,
    name,
    jobs: 3,
    mflop: 900,
    captured: 90,
    held: 50,
  });
  const rows: Rows = {
    entries,
    charges: [charge('a', 100, 60, 10), charge('b', 50, null), charge('c', 40, 0), charge('d', 30, 30)],
    usage: [cell('day', ''), cell('key', '01234567'), cell('model', 'flux')],
  };
  return { sums: { seq: entries.length, charges: 4, usage: 3, columns: sumOf(entries) }, rows };
}

test('a ledger as it was exported has no fault, and an empty one neither', () => {
  const { sums, rows } = ledger();
  expect(backupFault(sums, rows)).toBeNull();
  const none = { entries: [], charges: [], usage: [] };
  expect(backupFault({ seq: 0, charges: 0, usage: 0, columns: sumOf([]) }, none)).toBeNull();
});

describe('is refused with', () => {
  const { rows: all } = ledger();
  const places = (['entries', 'charges', 'usage'] as const).flatMap((part) =>
    all[part].map((_, i) => [part, i] as const),
  );

  test.each(places)('a row of %s dropped or doubled, at %i', (part, i) => {
    const { sums, rows } = ledger();
    const list = rows[part] as unknown[];
    const dropped = { ...rows, [part]: list.toSpliced(i, 1) } as Rows;
    expect(backupFault(sums, dropped)).toEqual(expect.any(String));
    expect(backupFault(sums, { ...rows, [part]: list.toSpliced(i, 0, list[i]) } as Rows)).toEqual(expect.any(String));
  });

  test.each(places)('an amount of %s one micro-dollar larger, at %i', (part, i) => {
    const { sums, rows } = ledger();
    const list = rows[part] as { amount?: number; held?: number; captured?: number | null }[];
    const row = list[i] as (typeof list)[number];
    if (row.amount !== undefined) list[i] = { ...row, amount: row.amount + 1 };
    else list[i] = { ...row, held: (row.held ?? 0) + 1 };
    expect(backupFault(sums, rows)).toEqual(expect.any(String));
  });

  test.each<[string, (rows: Rows) => void, string]>([
    ['an id twice', ({ entries }) => Object.assign(entries[8] as object, { id: 'hold:a' }), 'hold:a is there twice'],
    ['two in the wrong order', ({ entries }) => entries.reverse(), 'has place 10; it must be 1'],
    [
      'a top-up that takes',
      ({ entries }) => Object.assign(entries[0] as object, { debit: 'balance', credit: 'funds' }),
      'is a top_up that takes',
    ],
    [
      'a hold to the funds',
      ({ entries }) => Object.assign(entries[1] as object, { credit: 'funds' }),
      'is a hold from balance to funds',
    ],
    [
      'a capture above its hold',
      ({ entries }) => Object.assign(entries[2] as object, { amount: 101 }),
      'captures more than was held',
    ],
    [
      'a charge given back otherwise',
      ({ charges }) => Object.assign(charges[0] as object, { refunded: 9 }),
      'says 9 was given back',
    ],
    [
      'a day that counts otherwise',
      ({ usage }) => Object.assign(usage[0] as object, { captured: 89 }),
      'usage by day does not add up',
    ],
  ])('%s', (_, edit, sentence) => {
    const { sums, rows } = ledger();
    edit(rows);
    expect(backupFault(sums, rows)).toContain(sentence);
  });

  test('sums that are not those of its entries', () => {
    const { sums, rows } = ledger();
    const columns = { ...sums.columns, funds: { ...sums.columns.funds, debitsPosted: 999 } };
    expect(backupFault({ ...sums, columns }, rows)).toBe('debitsPosted of funds comes to 1000; it must be 999');
  });
});
