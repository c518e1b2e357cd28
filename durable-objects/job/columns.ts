/**
 * The columns of a job's own row: what each holds, and a row as a record. docs/storage.md shows the row with an
 * example. Pure.
 */
import type { StageUsage } from '../../src/billing/receipt.ts';
import { pictures } from '../../src/billing/work.ts';
import { knownReason } from '../../src/job/failures.ts';
import type { JobRecord, Plan } from '../../src/job/job.ts';
import type { Letter, SentStage } from '../../src/job/outbox.ts';
import { Unreadable, unreadableFields } from '../../src/job/unreadable.ts';

/** Longest row value. The platform refuses more than 2 MB; local workerd does not, so it is checked here. */
export const MAX_ROW_BYTES = 1536 * 1024;

/** Version of the layout that a new job is stored in. */
export const LAYOUT = 1;

/**
 * The one table of a job. Row 0 is the job. Rows above it are events that row 0 has no room for, under the place of
 * their first one; rows below it are the parts of the latents.
 */
export const CREATE_TABLE = `CREATE TABLE IF NOT EXISTS job (
  key INTEGER PRIMARY KEY, data BLOB, layout INTEGER,
  id TEXT, account TEXT, regions TEXT, request TEXT, plan TEXT, created_at INTEGER, deadline_at INTEGER,
  confirmed_at INTEGER, room TEXT, room_since INTEGER, room_times TEXT, attempt INTEGER, tries INTEGER,
  not_before INTEGER, busy_since INTEGER, selections TEXT, usage TEXT, attempts TEXT,
  image TEXT, receipt TEXT, failure TEXT, finished_at INTEGER, expires_at INTEGER, webhook TEXT,
  events TEXT, events_from INTEGER, letters TEXT)`;

/** A request of one stage to one server. The same request has the same stage id. */
export interface Attempt extends SentStage {
  readonly stage: number;
  /** which of the job's requests it was last */
  readonly number: number;
  /** how often it came to nothing there; absent in jobs of an earlier version */
  readonly faults?: number;
  /** how often the server reported itself that the stage failed */
  readonly reported?: number;
  /** it went without the options that change no number, because the server refused them; absent: with them */
  readonly isPlain?: true;
}

/** A letter as it is stored. Times are milliseconds since 1970. */
export type StoredLetter = Letter & { readonly seq: number; readonly dueAt: number; readonly tries: number };

/** What else is in the job's row, one JSON list a column. Letters outlive the job; the others do not. */
export interface Lists {
  readonly usage: readonly StageUsage[];
  readonly attempts: readonly Attempt[];
  readonly letters: readonly StoredLetter[];
}
export const LISTS = ['usage', 'attempts', 'letters'] as const satisfies readonly (keyof Lists)[];

type Row = Readonly<Record<string, SqlStorageValue>>;

/** The column of each field of a record, and how it holds it. */
export const COLUMNS = {
  id: ['id', 'plain'],
  account: ['account', 'plain'],
  regions: ['regions', 'json'],
  request: ['request', 'json'],
  plan: ['plan', 'json'],
  createdAt: ['created_at', 'plain'],
  room: ['room', 'json'],
  roomSince: ['room_since', 'plain'],
  roomTimes: ['room_times', 'json'],
  attempt: ['attempt', 'plain'],
  tries: ['tries', 'plain'],
  notBefore: ['not_before', 'plain'],
  busySince: ['busy_since', 'plain'],
  selections: ['selections', 'json'],
  image: ['image', 'json'],
  receipt: ['receipt', 'json'],
  failure: ['failure', 'json'],
  finishedAt: ['finished_at', 'plain'],
  expiresAt: ['expires_at', 'plain'],
  deadlineAt: ['deadline_at', 'plain'],
  webhook: ['webhook', 'json'],
  confirmedAt: ['confirmed_at', 'plain'],
} as const satisfies Record<keyof JobRecord, readonly [string, 'plain' | 'json']>;

export type Field = keyof JobRecord;
export const FIELDS = Object.keys(COLUMNS) as Field[];

/** A value as its column holds it. */
export function toColumn(field: Field, value: unknown): SqlStorageValue {
  const [, kind] = COLUMNS[field];
  if (value === null || kind === 'plain') return value as SqlStorageValue;
  return checked(`job.${COLUMNS[field][0]}`, JSON.stringify(value));
}

/**
 * Text that fits a row. UTF-16 units bound UTF-8 bytes by three, and nearly all of it is ASCII: measured only when it
 * could matter.
 */
export function checked(name: string, text: string): string {
  if (text.length * 3 > MAX_ROW_BYTES && new TextEncoder().encode(text).length > MAX_ROW_BYTES)
    throw new RangeError(`row value ${name}: over ${MAX_ROW_BYTES} bytes`);
  return text;
}

/** The values of a row by field, as they stand; `undefined` for text that should be JSON and is not. */
export function storedValues(row: Row): Readonly<Record<Field, unknown>> {
  const entries = FIELDS.map((field) => {
    const [column, kind] = COLUMNS[field];
    const value = row[column] ?? null;
    return [field, kind === 'json' && value !== null ? parseJson(String(value)) : value] as const;
  });
  return Object.fromEntries(entries) as Record<Field, unknown>;
}

/** What a text says; `undefined` where it is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A stage as stored, planned or done: before there was a cache every step of it was evaluated. */
export const evaluated = <Stage extends { readonly steps: number; readonly evaluations: number }>(
  stage: Stage,
): Stage => ({
  ...stage,
  evaluations: stage.evaluations ?? stage.steps,
});

/** A row as a record. Throws Unreadable. */
export function toRecord(row: Row): JobRecord {
  const stored = storedValues(row);
  const broken = unreadableFields(stored);
  if (broken.length > 0) throw new Unreadable(broken.map((field) => COLUMNS[field][0]));
  return asRead(stored as unknown as JobRecord);
}

/** The fields of a record that `asRead` looks at. */
export const FILLED_IN: readonly Field[] = ['regions', 'request', 'receipt', 'failure', 'plan'];

/** A record with what an earlier version did not store filled in. Law: of a record that has everything, itself. */
export function asRead(record: JobRecord): JobRecord {
  const numBoundaries = record.plan.stages.length - 1;
  const { schedule } = record.request;
  // a job planned before these were asked for runs as it was planned
  const request = {
    ...record.request,
    schedule: {
      ...schedule,
      z: schedule.z === null ? null : eachBoundary(schedule.z, numBoundaries),
      cache: schedule.cache ?? null,
    },
    solver: record.request.solver ?? 'euler',
    selection: record.request.selection ?? 'canny',
    allowEngineChange: record.request.allowEngineChange ?? true,
    isOwnSchedule: record.request.isOwnSchedule ?? false,
  };
  const receipt = record.receipt && {
    ...record.receipt,
    solver: record.receipt.solver ?? 'euler',
    cache: record.receipt.cache ?? null,
    stages: record.receipt.stages.map(evaluated),
    selection: record.receipt.selection ?? 'canny',
    cost: record.receipt.cost ?? null,
  };
  const failure = record.failure && { ...record.failure, reason: knownReason(record.failure.reason) };
  const plan = {
    ...record.plan,
    features: record.plan.features ?? [],
    numerics: record.plan.numerics ?? 1,
    flops: record.plan.numerics === undefined ? asCounted(record.plan) : record.plan.flops,
    z: eachBoundary(record.plan.z, numBoundaries),
    stages: record.plan.stages.map(evaluated),
    warnings: record.plan.warnings ?? [],
    price: record.plan.price ?? null,
  };
  return { ...record, regions: record.regions ?? [''], request, receipt, failure, plan };
}

/** Z of each boundary; an earlier version stored one for all of them, and null where there are none. */
function eachBoundary(z: readonly number[] | number | null, numBoundaries: number): readonly number[] {
  return typeof z === 'number' ? new Array<number>(numBoundaries).fill(z) : (z ?? []);
}

/** The work of a plan that an earlier version stored: it counted the picture of a mixed grid as a whole one. */
function asCounted({ stages, flops }: Plan): Plan['flops'] {
  const fullTokens = stages.at(-1)?.tokens ?? 0;
  const then = stages.map(({ decode, tokens }) => (decode === 'none' ? 0 : tokens === fullTokens / 4 ? 1 / 4 : 1));
  return { ...flops, decode: (flops.decode * pictures(stages)) / then.reduce((sum, share) => sum + share, 0) };
}
