/** Whether the rows of an account's money agree with each other. Only reads. Nothing here awaits. */
import { type Difference, type DifferenceKind, MAX_OF_KIND } from '../../src/billing/difference.ts';
import { LEDGER_ACCOUNTS } from '../../src/billing/ledger.ts';
import { formatUsd } from '../../src/billing/money.ts';
import { readTally } from './tally-table.ts';

export interface Checked {
  readonly differences: readonly Difference[];
  readonly more: readonly DifferenceKind[];
}

/** `expected` and `found` are micro-dollars; null: there is none. */
type Row = { subject: string; expected: number | null; found: number | null };

const shown = (micro: number | null): string => (micro === null ? 'none' : formatUsd(micro));

/** The holds of each job, and what resolved them: one of each, and their sums where there should be no second. */
const HOLDS = "(SELECT job, SUM(amount) AS amount, MIN(seq) AS seq FROM entry WHERE kind = 'hold' GROUP BY job)";
const ENDS = "(SELECT job, SUM(amount) AS amount FROM entry WHERE kind IN ('capture', 'release') GROUP BY job)";

/** Each selects what is wrong: `subject`, `expected`, `found`, in micro-dollars. */
const WRONG_ROWS: Readonly<Partial<Record<DifferenceKind, string>>> = {
  hold_without_charge: `SELECT job AS subject, amount AS expected, NULL AS found FROM entry AS hold
     WHERE kind = 'hold' AND NOT EXISTS (SELECT 1 FROM charge WHERE job = hold.job)`,
  charge_without_hold: `SELECT charge.job AS subject, charge.held AS expected, hold.amount AS found FROM charge
     LEFT JOIN ${HOLDS} AS hold ON hold.job = charge.job WHERE hold.amount IS NOT charge.held`,
  charge_without_end: `SELECT charge.job AS subject, finish.amount AS expected, charge.captured AS found FROM charge
     LEFT JOIN ${ENDS} AS finish ON finish.job = charge.job WHERE finish.amount IS NOT charge.captured`,
  end_without_hold: `SELECT finish.id AS subject, NULL AS expected, finish.amount AS found FROM entry AS finish
     LEFT JOIN ${HOLDS} AS hold ON hold.job = finish.job AND hold.seq < finish.seq
     WHERE finish.kind IN ('capture', 'release') AND hold.seq IS NULL`,
  captured_above_hold: `SELECT charge.job AS subject, charge.held AS expected, charge.captured AS found FROM charge
     WHERE charge.captured > charge.held
     UNION SELECT finish.job, hold.amount, finish.amount FROM ${ENDS} AS finish
     JOIN ${HOLDS} AS hold ON hold.job = finish.job WHERE finish.amount > hold.amount`,
  refunded: `SELECT charge.job AS subject, COALESCE(refund.amount, 0) AS expected, charge.refunded AS found FROM charge
     LEFT JOIN (SELECT job, SUM(amount) AS amount FROM entry WHERE kind = 'refund' GROUP BY job) AS refund
     ON refund.job = charge.job WHERE charge.refunded <> COALESCE(refund.amount, 0)`,
  hold_without_job: `SELECT id AS subject, NULL AS expected, held AS found FROM job
     WHERE held IS NOT NULL AND captured IS NULL AND status IS NOT 'open'`,
  waits_for_meter: `SELECT job AS subject, captured AS expected, NULL AS found FROM charge WHERE meter = 'waiting'`,
};

/** The columns of an account of the ledger as its entries have them. */
const SUMMED = (side: 'debit' | 'credit'): string =>
  `SELECT COALESCE(SUM(CASE WHEN kind NOT IN ('hold', 'release') THEN amount END), 0) AS posted,
     COALESCE(SUM(CASE WHEN kind = 'hold' AND job NOT IN (SELECT job FROM entry WHERE kind IN ('capture', 'release'))
       THEN amount END), 0) AS pending FROM entry WHERE ${side} = ?`;

function checkColumns(sql: SqlStorage): readonly Difference[] {
  const differences: Difference[] = [];
  const balance = { pending: 0, posted: 0 };
  const compare = (kind: 'columns' | 'unbalanced', subject: string, expected: number, found: number): void => {
    if (expected !== found) differences.push({ kind, subject, expected: shown(expected), found: shown(found) });
  };
  const { columns: all } = readTally(sql);
  for (const account of LEDGER_ACCOUNTS) {
    const columns = all[account];
    const debits = sql.exec<{ posted: number; pending: number }>(SUMMED('debit'), account).one();
    const credits = sql.exec<{ posted: number; pending: number }>(SUMMED('credit'), account).one();
    compare('columns', `${account}, debits pending`, debits.pending, columns.debitsPending);
    compare('columns', `${account}, debits posted`, debits.posted, columns.debitsPosted);
    compare('columns', `${account}, credits pending`, credits.pending, columns.creditsPending);
    compare('columns', `${account}, credits posted`, credits.posted, columns.creditsPosted);
    balance.pending += columns.debitsPending - columns.creditsPending;
    balance.posted += columns.debitsPosted - columns.creditsPosted;
  }
  compare('unbalanced', 'pending', 0, balance.pending);
  compare('unbalanced', 'posted', 0, balance.posted);
  return differences;
}

/** Usage counts what the rows of charges say, whatever it is grouped by. */
function checkUsage(sql: SqlStorage): readonly Difference[] {
  const charged = sql
    .exec<{ captured: number; held: number; mflop: number }>(
      `SELECT COALESCE(SUM(captured), 0) AS captured, COALESCE(SUM(CASE WHEN captured IS NULL THEN held END), 0) AS held,
         COALESCE(SUM(mflop), 0) AS mflop FROM charge`,
    )
    .one();
  return ['day', 'key', 'model'].flatMap((dimension) => {
    const counted = sql
      .exec<{ captured: number; held: number; mflop: number }>(
        `SELECT COALESCE(SUM(captured), 0) AS captured, COALESCE(SUM(held), 0) AS held, COALESCE(SUM(mflop), 0) AS mflop
         FROM usage WHERE dimension IN (?, 'all')`,
        dimension,
      )
      .one();
    return (['captured', 'held', 'mflop'] as const).flatMap((figure): Difference[] => {
      if (counted[figure] === charged[figure]) return [];
      const say = (value: number): string => (figure === 'mflop' ? `${value} MFLOP` : formatUsd(value));
      const subject = `${dimension}, ${figure}`;
      return [{ kind: 'usage', subject, expected: say(charged[figure]), found: say(counted[figure]) }];
    });
  });
}

/** Every difference between columns, entries, charges, usage and the index of jobs. */
export function checkLedger(sql: SqlStorage): Checked {
  const differences: Difference[] = [...checkColumns(sql), ...checkUsage(sql)];
  const more: DifferenceKind[] = [];
  for (const [name, select] of Object.entries(WRONG_ROWS)) {
    const kind = name as DifferenceKind;
    const rows = sql.exec<Row>(`SELECT * FROM (${select}) ORDER BY subject LIMIT ${MAX_OF_KIND + 1}`).toArray();
    if (rows.length > MAX_OF_KIND) more.push(kind);
    for (const { subject, expected, found } of rows.slice(0, MAX_OF_KIND))
      differences.push({ kind, subject, expected: shown(expected), found: shown(found) });
  }
  return { differences, more };
}
