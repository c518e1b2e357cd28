/** What holds of the money of an account, whatever was killed. Each law reads the stored rows and throws Violation. */
import type { DatabaseSync } from 'node:sqlite';
import type { ReceiptCost } from '../../src/billing/charge.ts';
import { LEDGER_ACCOUNTS, type StoredEntry, sumOf } from '../../src/billing/ledger.ts';
import { parseUsd } from '../../src/billing/money.ts';
import { imageCost, type Price, workOf } from '../../src/billing/price.ts';
import { prepare } from './sqlite.ts';

/** A law that does not hold. */
export class Violation extends Error {
  override name = 'Violation';
  readonly law: string;
  constructor(law: string, detail: string) {
    super(`${law}: ${detail}`);
    this.law = law;
  }
}

/** Throws where a law does not hold. */
export function hold(law: string, holds: boolean, detail: () => string): void {
  if (!holds) throw new Violation(law, detail());
}

const rowsOf = <T>(db: DatabaseSync, query: string, ...values: (string | number)[]): T[] =>
  prepare(db, query).statement.all(...values) as T[];

const hasTable = (db: DatabaseSync, name: string): boolean =>
  rowsOf(db, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", name).length > 0;

/** Whether an account has its tables. */
export const isThere = (db: DatabaseSync): boolean => hasTable(db, 'migration');

interface ColumnsRow {
  readonly account: string;
  readonly debits_pending: number;
  readonly debits_posted: number;
  readonly credits_pending: number;
  readonly credits_posted: number;
}

export interface ChargeRow {
  readonly job: string;
  readonly held: number;
  readonly captured: number | null;
  readonly refunded: number;
}

export const chargesOf = (db: DatabaseSync): ChargeRow[] =>
  rowsOf<ChargeRow>(db, 'SELECT job, held, captured, refunded FROM charge ORDER BY job');

/** The laws of the columns: cheap enough to be looked at whenever rows of the account are stored. */
export function checkColumns(db: DatabaseSync, creditLimit: number | null): void {
  const rows = rowsOf<ColumnsRow>(db, 'SELECT * FROM ledger');
  const sum = (of: (row: ColumnsRow) => number): number => rows.reduce((total, row) => total + of(row), 0);
  const pending = [sum((row) => row.debits_pending), sum((row) => row.credits_pending)] as const;
  const posted = [sum((row) => row.debits_posted), sum((row) => row.credits_posted)] as const;
  hold('debits are credits, pending', pending[0] === pending[1], () => pending.join(' and '));
  hold('debits are credits, posted', posted[0] === posted[1], () => posted.join(' and '));
  const own = rows.find(({ account }) => account === 'balance') as ColumnsRow;
  const left = own.credits_posted - own.debits_posted - own.debits_pending;
  hold('never negative', creditLimit === null || left >= -creditLimit, () => `${left}, may owe ${creditLimit}`);
  const [holds] = rowsOf<{ held: number | null }>(db, 'SELECT SUM(held) AS held FROM charge WHERE captured IS NULL');
  hold(
    'holds are what is pending',
    (holds?.held ?? 0) === own.debits_pending,
    () => `${holds?.held}, ${own.debits_pending}`,
  );
  const lonely = rowsOf<{ job: string }>(
    db,
    `SELECT charge.job FROM charge LEFT JOIN job ON job.id = charge.job
     WHERE (charge.captured IS NULL) <> (job.status IS NOT NULL AND job.status = 'open')`,
  );
  hold('holds are the open jobs', lonely.length === 0, () => lonely.map(({ job }) => job).join(', '));
}

/** The laws of the whole ledger. `quoted`: what was quoted for each job. */
export function checkLedger(db: DatabaseSync, quoted: ReadonlyMap<string, number | null>): void {
  const entries = rowsOf<StoredEntry>(db, 'SELECT * FROM entry ORDER BY seq');
  const sums = sumOf(entries);
  for (const row of rowsOf<ColumnsRow>(db, 'SELECT * FROM ledger')) {
    const account = LEDGER_ACCOUNTS.find((one) => one === row.account);
    const added = account && sums[account];
    hold(
      'columns are the sum of the entries',
      added !== undefined &&
        added.debitsPending === row.debits_pending &&
        added.debitsPosted === row.debits_posted &&
        added.creditsPending === row.credits_pending &&
        added.creditsPosted === row.credits_posted,
      () => JSON.stringify({ row, added }),
    );
  }
  const charges = chargesOf(db);
  const held = charges.reduce((sum, row) => sum + (row.captured === null ? row.held : 0), 0);
  const captured = charges.reduce((sum, row) => sum + (row.captured ?? 0), 0);
  for (const dimension of ['day', 'key', 'model']) {
    const [used] = rowsOf<{ held: number | null; captured: number | null }>(
      db,
      "SELECT SUM(held) AS held, SUM(captured) AS captured FROM usage WHERE dimension IN (?, 'all')",
      dimension,
    );
    hold('usage has what is held', (used?.held ?? 0) === held, () => `by ${dimension} ${used?.held}, held ${held}`);
    hold('usage has what was captured', (used?.captured ?? 0) === captured, () => `by ${dimension} ${used?.captured}`);
  }
  for (const row of charges) {
    const most = quoted.get(row.job);
    hold('held is what was quoted', most === row.held, () => `${row.job}: held ${row.held}, quoted ${most}`);
    hold(
      'captured is at most held',
      (row.captured ?? 0) <= row.held,
      () => `${row.job}: ${row.captured} of ${row.held}`,
    );
    hold('given back is at most captured', row.refunded <= (row.captured ?? 0), () => `${row.job}: ${row.refunded}`);
    const ends = entries.filter(({ job, kind }) => job === row.job && (kind === 'capture' || kind === 'release'));
    hold('a hold resolves once', ends.length === (row.captured === null ? 0 : 1), () => `${row.job}: ${ends.length}`);
  }
}

/** Whether what a job may cost is held now, or, where it has no price, whether it is one of the account's open jobs. */
export function mayRun(db: DatabaseSync, job: string): boolean {
  const [charge] = rowsOf<{ captured: number | null }>(db, 'SELECT captured FROM charge WHERE job = ?', job);
  const [entered] = rowsOf<{ status: string }>(db, 'SELECT status FROM job WHERE id = ?', job);
  return charge ? charge.captured === null : entered !== undefined;
}

/** What is stored of a job that has ended. */
export interface StoredJob {
  readonly room: string;
  readonly reason: string | null;
  readonly createdAt: number;
  readonly finishedAt: number | null;
  readonly isOwnSchedule: boolean;
  readonly price: Price | null;
  readonly cost: ReceiptCost | null;
}

export function readStoredJob(db: DatabaseSync): StoredJob | null {
  const [row] = hasTable(db, 'job')
    ? rowsOf<{
        room: string;
        failure: string | null;
        request: string;
        plan: string;
        receipt: string | null;
        created_at: number;
        finished_at: number | null;
      }>(
        db,
        `SELECT room, failure, request, plan, receipt, created_at, finished_at FROM job
         WHERE key = 0 AND id IS NOT NULL`,
      )
    : [];
  if (!row) return null;
  return {
    room: JSON.parse(row.room).name,
    reason: row.failure === null ? null : JSON.parse(row.failure).reason,
    createdAt: row.created_at,
    finishedAt: row.finished_at,
    isOwnSchedule: JSON.parse(row.request).isOwnSchedule,
    price: JSON.parse(row.plan).price ?? null,
    cost: row.receipt === null ? null : JSON.parse(row.receipt).cost,
  };
}

/** The price of a done job, from its plan alone and the tokens of text that its server told. */
export function plannedCost(price: Price, told: number | null): number {
  const { limit } = price.text;
  return Math.min(price.quoted, imageCost(workOf(price.stages, price, Math.min(limit, told ?? limit)), price));
}

/** An event that comes again says the same. */
export function checkEvent(job: string, before: string | undefined, told: string): void {
  hold('the events of a job are one', before === undefined || before === told, () => `${job}: ${before}, then ${told}`);
}

/** What the sink was told of a job, once everything has come to rest: `told` is the data of its event. */
export function checkTold(job: string, charge: ChargeRow | undefined, told: string | undefined): void {
  hold('the sink hears of every job that was computed', told !== undefined, () => job);
  const usd: string | null = told === undefined ? null : JSON.parse(told).cost_usd;
  const said = usd === null ? null : parseUsd(usd);
  const charged = charge ? charge.captured : null;
  hold('the event has the charge', said === charged, () => `${job}: ${said}, charged ${charged}`);
}

/** What holds of a job once everything has come to rest. */
export function checkJob(
  id: string,
  { room, reason, isOwnSchedule, price, cost }: StoredJob,
  charge: ChargeRow | undefined,
  server: { readonly told: number | null; readonly steps: (stage: number) => number },
): void {
  const told = cost === null ? 0 : parseUsd(cost.usd);
  // it came when its account had let it go, or was erased and came again: what its first life cost stays
  if (reason === 'not_confirmed') {
    hold('what may not begin is free', told === 0, () => `${id}: ${told}`);
    return;
  }
  hold(
    'the charge is the cost on the receipt',
    (charge?.captured ?? 0) === told,
    () => `${id}: ${charge?.captured}, ${told}`,
  );
  if (price === null || cost === null) return;
  const isOurs = room === 'failed' && reason !== 'deadline_exceeded' && !(reason === 'not_finite' && isOwnSchedule);
  hold('a failure of ours is free', !isOurs || told === 0, () => `${id}: ${reason} ${told}`);
  const planned = plannedCost(price, server.told);
  hold(
    'a done job costs what was planned',
    room !== 'done' || told === planned,
    () => `${id}: ${told}, planned ${planned}`,
  );
  for (const { item, steps } of cost.lines) {
    const stage = /^stage(\d+)$/.exec(item)?.[1];
    const computed = stage === undefined ? steps : server.steps(Number(stage));
    hold(
      'no step is paid that no server computed',
      steps <= computed,
      () => `${id} ${item}: ${steps}, server ${computed}`,
    );
  }
}
