/** A ledger kept in a file: read out of an account, and put back into one. */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import {
  BACKUP_PARTS,
  BACKUP_ROWS,
  type BackupPart,
  type BackupRows,
  backupFault,
  type LedgerSums,
  ledgerSums,
} from '../../src/billing/backup.ts';
import type { Service } from '../generate/client.ts';
import { ask, type Done, type Page, pagesOf } from './ask.ts';

interface Backup extends Page<object> {
  readonly ledger: LedgerSums;
}
interface Ledger {
  readonly sums: LedgerSums;
  readonly rows: BackupRows;
}
interface Asked {
  readonly account: string;
  readonly file: string;
}

const VERSION = 1;
/** Rows, and characters of them, that one request puts back. */
const ROWS_AT_ONCE = 100;
const CHARACTERS_AT_ONCE = 60_000;

/** The whole ledger of an account. Throws an Error where it changes meanwhile, or does not add up. */
async function readLedger(service: Service, account: string): Promise<Ledger> {
  const path = `/v1/accounts/${account}/backup`;
  const rows: Record<BackupPart, object[]> = { entries: [], charges: [], usage: [] };
  let sums: LedgerSums | null = null;
  for (const part of BACKUP_PARTS)
    for await (const page of pagesOf<Backup>(service, path, { query: { part, limit: '500' } })) {
      sums ??= page.ledger;
      if (page.ledger.seq !== sums.seq || page.ledger.charges !== sums.charges)
        throw new Error('the ledger changed while it was read; suspend the account, or try again');
      rows[part].push(...page.data);
    }
  return { sums: sums as LedgerSums, rows: rows as unknown as BackupRows };
}

const digest = (lines: readonly string[]): string =>
  createHash('sha256')
    .update(lines.map((line) => `${line}\n`).join(''))
    .digest('hex');

/** Writes the ledger of an account: a header, each row on a line of its own, and what all of it comes to. */
export async function exportLedger(service: Service, { account, file }: Asked): Promise<Done> {
  const { sums, rows } = await readLedger(service, account);
  const fault = backupFault(sums, rows);
  if (fault !== null) throw new Error(`the ledger does not add up, and nothing was written: ${fault}; see reconcile`);
  const lines = [
    JSON.stringify({ ralu_ledger: VERSION, account, exported_at: new Date().toISOString(), unit: 'micro_usd', sums }),
    ...BACKUP_PARTS.flatMap((part) => rows[part].map((row) => JSON.stringify({ [part]: row }))),
  ];
  const end = JSON.stringify({ end: { lines: lines.length, sha256: digest(lines) } });
  // names of customers are in there; a file that is there is somebody's
  await writeFile(file, `${[...lines, end].join('\n')}\n`, { mode: 0o600, flag: 'wx' });
  const { seq, charges, usage } = sums;
  return {
    answer: { file, entries: seq, charges, usage },
    sentences: [`${file} has ${seq} entries, ${charges} charges and ${usage} rows of usage`],
  };
}

/** The ledger that a file holds. Throws an Error that names the line, where it is none or not as it was written. */
export function parseLedger(text: string): Ledger & { readonly account: string } {
  const lines = text.trimEnd().split('\n');
  const last = lines.pop() ?? '';
  const values = lines.map((line, i) => parseLine(line, i + 1));
  const { end } = parseLine(last, lines.length + 1) as { end?: { lines?: unknown; sha256?: unknown } };
  if (end?.lines !== lines.length || end.sha256 !== digest(lines))
    throw new Error('the file is not as it was exported: its last line does not say what the others come to');
  const [header, ...rest] = values as [Record<string, unknown>, ...Record<string, unknown>[]];
  if (header?.ralu_ledger !== VERSION || header.unit !== 'micro_usd' || typeof header.account !== 'string')
    throw new Error(`line 1 must be the header of a ledger of version ${VERSION}`);
  const sums = ledgerSums.safeParse(header.sums);
  if (!sums.success)
    throw new Error(`line 1 has at sums.${sums.error.issues[0]?.path.join('.')}: ${sums.error.issues[0]?.message}`);
  const rows: Record<BackupPart, unknown[]> = { entries: [], charges: [], usage: [] };
  for (const [i, value] of rest.entries()) {
    const part = BACKUP_PARTS.find((one) => Object.hasOwn(value, one));
    if (part === undefined) throw new Error(`line ${i + 2} must be one of ${BACKUP_PARTS.join(', ')}`);
    const row = BACKUP_ROWS[part].safeParse(value[part]);
    if (!row.success)
      throw new Error(
        `line ${i + 2} has at ${part}.${row.error.issues[0]?.path.join('.')}: ${row.error.issues[0]?.message}`,
      );
    rows[part].push(row.data);
  }
  const ledger = { account: header.account, sums: sums.data, rows: rows as unknown as BackupRows };
  const fault = backupFault(ledger.sums, ledger.rows);
  if (fault !== null) throw new Error(`the file does not add up: ${fault}`);
  return ledger;
}

function parseLine(line: string, number: number): unknown {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // told below
  }
  throw new Error(`line ${number} must be a JSON object`);
}

/** Where a ledger that is there and one of a file do not begin alike; null where one goes on from the other. */
function partOf(there: BackupRows['entries'], kept: BackupRows['entries']): string | null {
  const length = Math.min(there.length, kept.length);
  for (let i = 0; i < length; i++) {
    const [one, other] = [there[i] as object, kept[i] as object];
    const fields = Object.keys(other) as (keyof typeof other)[];
    if (fields.some((field) => one[field] !== other[field])) return (kept[i] as { id: string }).id;
  }
  return null;
}

/** Puts the ledger of a file into a suspended account whose ledger is empty, or begins as the file does. */
export async function restoreLedger(service: Service, { account, file }: Asked): Promise<Done> {
  const kept = parseLedger(await readFile(file, 'utf8'));
  const there = await readLedger(service, account);
  const differing = partOf(there.rows.entries, kept.rows.entries);
  if (differing !== null)
    throw new Error(`nothing was written: the account has another entry where the file has ${differing}`);
  const { seq, charges, usage } = kept.sums;
  const hasRows = there.sums.seq >= seq && there.sums.charges >= charges && there.sums.usage >= usage;
  // holds without a job are let go at the end, which then goes on behind the file
  const isThere = hasRows && (there.sums.seq > seq || kept.rows.charges.every(({ captured }) => captured !== null));
  if (isThere)
    return {
      answer: { written: 0, released: 0 },
      sentences: ['all of the file is there already; nothing was written'],
    };

  const path = `/v1/accounts/${account}/backup`;
  let written = 0;
  for (const part of BACKUP_PARTS)
    for (const rows of chunksOf(kept.rows[part].map((row) => JSON.stringify(row))))
      written += (await ask<{ written: number }>(service, 'POST', path, { part, rows, ledger: kept.sums })).written;
  const end = await ask<{ written: number }>(service, 'POST', path, { part: 'end', ledger: kept.sums });
  return {
    answer: { written, released: end.written },
    sentences: [
      `${written} rows of the ledger of ${kept.account} were written into ${account}`,
      ...(end.written === 0 ? [] : [`${end.written} holds were let go: their jobs are not there`]),
      'see reconcile, then resume the account',
    ],
  };
}

/** The rows, in order, in parts that fit one request. */
function chunksOf(rows: readonly string[]): readonly (readonly string[])[] {
  const chunks: string[][] = [];
  let length = CHARACTERS_AT_ONCE;
  for (const row of rows) {
    if (length + row.length > CHARACTERS_AT_ONCE || (chunks.at(-1)?.length ?? 0) === ROWS_AT_ONCE) {
      chunks.push([]);
      length = 0;
    }
    chunks.at(-1)?.push(row);
    length += row.length;
  }
  return chunks;
}
