/** A job as its object reads and writes it. docs/storage.md shows each row with an example. Nothing here awaits. */
import type { StageUsage } from '../../src/billing/receipt.ts';
import type { JobEvent } from '../../src/job/events.ts';
import type { Job, JobRecord } from '../../src/job/job.ts';
import { brokenRecord, Unreadable } from '../../src/job/unreadable.ts';
import { COLUMNS, evaluated, FIELDS } from './columns.ts';
import { deleteLatents, readTensors, writeTensors } from './latents.ts';
import type { Rows } from './rows.ts';
import { deleteShares } from './share-table.ts';

/** The job's row, or null when there is none. Throws Unreadable with the columns at fault. */
export const readRow = (rows: Rows): JobRecord | null => rows.record();

/** Whether the job is stored, readable or not. */
export const hasRow = (rows: Rows): boolean => rows.hasJob();

/** Stores a new job with its first events. */
export function insertRow(rows: Rows, record: JobRecord, events: readonly JobEvent[]): void {
  rows.transact(() => {
    rows.insert(record);
    rows.append(events, record.createdAt);
  });
}

/** Changes what is stored of the job. */
export const updateRow = (rows: Rows, changes: Partial<JobRecord>): void => rows.update(changes);

/**
 * Ends a job that cannot be read: what is broken is replaced, beside `columns` also what is found, and it stands there
 * as failed. Returns the record that is stored then; null where there is no job.
 */
export function breakRow(
  rows: Rows,
  columns: readonly string[],
  times: { readonly now: number; readonly expiresAt: number },
): JobRecord | null {
  return rows.transact(() => {
    const raw = rows.raw();
    if (!raw) return null;
    const fields = FIELDS.filter((field) => raw.broken.includes(field) || columns.includes(COLUMNS[field][0]));
    const parts = new Set([...fields.map((field) => COLUMNS[field][0]), ...columns]);
    deleteLatents(rows.sql);
    if (rows.list('letters') === null) rows.setList('letters', []);
    rows.update(brokenRecord(raw.values, fields, { parts: [...parts], ...times }));
    return rows.record();
  });
}

/**
 * The whole job as its rooms read it: the row with its latents, picture and usage. Throws Unreadable with what is at
 * fault. Whoever holds it holds the latents: nobody does but the walk of a room.
 */
export const readJob = (rows: Rows, row: JobRecord): Job => ({
  ...readableTensors(rows, row),
  usage: readUsage(rows),
  id: row.id,
  request: row.request,
  plan: row.plan,
  room: row.room,
  selections: row.selections,
});

function readableTensors({ sql }: Rows, { room }: JobRecord): Pick<Job, 'tokens' | 'rgb'> {
  try {
    const { tokens, rgb } = readTensors(sql);
    return { tokens, rgb: room.name === 'select' ? rgb : null };
  } catch {
    throw new Unreadable(['latents']);
  }
}

/** Writes what a room changed: latents, picture, selection and the usage of a stage just finished. */
export function writeJob(rows: Rows, before: Job, after: Job): void {
  rows.transact(() => {
    writeTensors(rows.sql, before, after);
    if (after.selections !== before.selections) rows.update({ selections: after.selections });
    addUsage(rows, after.usage);
  });
}

/** Adds the usage of stages that are not stored yet. */
export function addUsage(rows: Rows, usage: readonly StageUsage[]): void {
  const stored = readUsage(rows);
  const added = usage.filter(({ stage }) => stored.every((known) => known.stage !== stage));
  if (added.length > 0) rows.setList('usage', [...stored, ...added]);
}

/** Adds time that a server spent on a stored stage behind its result. */
export function addTimes(
  rows: Rows,
  stage: number,
  { decodeMs, encodeMs }: Pick<StageUsage, 'decodeMs' | 'encodeMs'>,
): void {
  const usage = readUsage(rows).map((each) =>
    each.stage === stage ? { ...each, decodeMs: each.decodeMs + decodeMs, encodeMs: each.encodeMs + encodeMs } : each,
  );
  rows.setList('usage', usage);
}

/** The usage of every finished stage, in order. Throws Unreadable. */
export function readUsage(rows: Rows): readonly StageUsage[] {
  const usage = rows.list('usage');
  if (!usage?.every(isObject)) throw new Unreadable(['usage']);
  return usage.map(evaluated);
}

/** The usage of every finished stage that can be read: what an end has on its receipt. */
export const readableUsage = (rows: Rows): readonly StageUsage[] =>
  (rows.list('usage') ?? []).filter(isObject).map(evaluated);

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null;

/**
 * Removes all that a job holds of its caller: prompt, plan, latents, events, usage, shares. What stays is told to
 * others.
 */
export function deleteContent(rows: Rows): void {
  rows.transact(() => {
    deleteShares(rows.sql);
    rows.erase();
  });
}
