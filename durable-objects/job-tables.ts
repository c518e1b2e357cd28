/**
 * The rows of one job: schema, and every read and write of them. docs/storage.md shows each row with an example.
 * Nothing here awaits.
 */
import type { StageUsage } from '../src/billing/receipt.ts';
import { pictures } from '../src/billing/work.ts';
import type { JobEvent, StoredEvent } from '../src/job/events.ts';
import { knownReason } from '../src/job/failures.ts';
import type { Job, JobRecord, Plan } from '../src/job/job.ts';
import { viewPlan } from '../src/job/plan.ts';
import { jobWorkOf } from '../src/job/record.ts';
import { brokenRecord, Unreadable, unreadableFields } from '../src/job/unreadable.ts';
import type { Webhook } from '../src/job/webhook.ts';
import { decodeMessage, encodeMessage, type Message, type Tensor } from '../src/stage/safetensors.ts';
import { beginAttempt, settleAttempt } from './attempts.ts';
import { hasTables } from './migrate.ts';
import { addLetter } from './outbox-tables.ts';

/** Longest row value. The platform refuses more than 2 MB; local workerd does not, so it is checked here. */
export const MAX_ROW_BYTES = 1536 * 1024;

export const JOB_MIGRATIONS = [
  `CREATE TABLE job (
     id TEXT PRIMARY KEY, request TEXT NOT NULL, plan TEXT NOT NULL, created_at INTEGER NOT NULL,
     room TEXT NOT NULL, room_since INTEGER NOT NULL, room_times TEXT NOT NULL,
     attempt INTEGER NOT NULL, tries INTEGER NOT NULL, not_before INTEGER NOT NULL, busy_since INTEGER,
     backend TEXT, stage_id TEXT, selections TEXT,
     image TEXT, receipt TEXT, failure TEXT, finished_at INTEGER, expires_at INTEGER);
   CREATE TABLE blob (name TEXT NOT NULL, part INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (name, part));
   CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL, data TEXT NOT NULL, at INTEGER NOT NULL);
   CREATE TABLE usage (stage INTEGER PRIMARY KEY, data TEXT NOT NULL);`,
  `ALTER TABLE job ADD COLUMN account TEXT NOT NULL DEFAULT '';
   ALTER TABLE job ADD COLUMN told_at INTEGER;`,
  `ALTER TABLE job ADD COLUMN deadline_at INTEGER;
   ALTER TABLE job ADD COLUMN webhook TEXT;`,
  `CREATE TABLE attempt (backend TEXT NOT NULL, stage_id TEXT NOT NULL, stage INTEGER NOT NULL, number INTEGER NOT NULL,
     outcome TEXT NOT NULL, PRIMARY KEY (backend, stage_id));
   CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, due_at INTEGER NOT NULL,
     tries INTEGER NOT NULL, payload TEXT NOT NULL);`,
  moveIntoOutbox,
  `ALTER TABLE job DROP COLUMN backend;
   ALTER TABLE job DROP COLUMN stage_id;
   ALTER TABLE job DROP COLUMN told_at;`,
  'ALTER TABLE attempt ADD COLUMN worker TEXT;',
  'ALTER TABLE job ADD COLUMN confirmed_at INTEGER;',
] as const;

/** What a job stored before there was an outbox still had to do, as letters; and where its request was. */
function moveIntoOutbox(sql: SqlStorage): void {
  const [row] = sql.exec('SELECT * FROM job').toArray();
  if (!row) return;
  const { backend, stage_id, told_at } = row;
  let record: JobRecord;
  try {
    record = toRecord(row);
  } catch {
    // one that cannot be read is ended as such when it is next read
    return;
  }
  const { room, webhook, receipt } = record;
  if (typeof backend === 'string' && typeof stage_id === 'string') {
    const stage = room.name === 'stage' ? room.stage : record.plan.stages.length;
    beginAttempt(sql, { backend, stageId: stage_id, stage, number: record.attempt });
    if (room.name !== 'stage') settleAttempt(sql, room.name === 'done' ? 'stored' : 'failed');
  }
  if (room.name !== 'done' && room.name !== 'failed' && room.name !== 'cancelled') return;
  if (told_at === null) {
    const work = room.name === 'done' && receipt ? jobWorkOf(record, receipt) : null;
    addLetter(
      sql,
      {
        kind: 'ended',
        payload: {
          account: record.account,
          job: record.id,
          facts: null,
          status: room.name,
          work,
          charge: null,
          excess: null,
        },
      },
      0,
    );
  }
  if (webhook?.state === 'waiting') {
    const { dueAt = 0 } = webhook as Webhook & { readonly dueAt?: number };
    addLetter(sql, { kind: 'webhook', payload: null }, dueAt, webhook.tries);
  }
  addLetter(sql, { kind: 'expire', payload: null }, record.expiresAt ?? 0);
}

const COLUMNS = {
  id: ['id', 'plain'],
  account: ['account', 'plain'],
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

type Field = keyof JobRecord;
const FIELDS = Object.keys(COLUMNS) as Field[];

/** A value as its column holds it. */
function toColumn(field: Field, value: unknown): SqlStorageValue {
  const [, kind] = COLUMNS[field];
  if (value === null || kind === 'plain') return value as SqlStorageValue;
  return checked(`job.${COLUMNS[field][0]}`, JSON.stringify(value));
}

/**
 * Text that fits a row. UTF-16 units bound UTF-8 bytes by three, and nearly all of it is ASCII: measured only when it
 * could matter.
 */
function checked(name: string, text: string): string {
  if (text.length * 3 > MAX_ROW_BYTES && new TextEncoder().encode(text).length > MAX_ROW_BYTES)
    throw new RangeError(`row value ${name}: over ${MAX_ROW_BYTES} bytes`);
  return text;
}

/** The job's row, or null when there is none. Throws Unreadable with the columns at fault. */
export function readRow(sql: SqlStorage): JobRecord | null {
  const row = storedRow(sql);
  return row ? toRecord(row) : null;
}

type Row = Readonly<Record<string, SqlStorageValue>>;

function storedRow(sql: SqlStorage): Row | undefined {
  return hasTables(sql) ? sql.exec('SELECT * FROM job').toArray()[0] : undefined;
}

/** Whether the job is stored, readable or not. */
export const hasRow = (sql: SqlStorage): boolean => storedRow(sql) !== undefined;

/** The values of a row by field, as they stand; `undefined` for text that should be JSON and is not. */
function storedValues(row: Row): Readonly<Record<Field, unknown>> {
  const entries = FIELDS.map((field) => {
    const [column, kind] = COLUMNS[field];
    const value = row[column] ?? null;
    return [field, kind === 'json' && value !== null ? parseJson(String(value)) : value] as const;
  });
  return Object.fromEntries(entries) as Record<Field, unknown>;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Ends a job that cannot be read: what is broken is replaced, beside `columns` also what is found, and it stands there
 * as failed. Returns the record that is stored then; null where there is no job.
 */
export function breakRow(
  sql: SqlStorage,
  columns: readonly string[],
  times: { readonly now: number; readonly expiresAt: number },
): JobRecord | null {
  const row = storedRow(sql);
  if (!row) return null;
  const stored = storedValues(row);
  const broken = new Set(unreadableFields(stored));
  const fields = FIELDS.filter((field) => broken.has(field) || columns.includes(COLUMNS[field][0]));
  const parts = fields.map((field) => COLUMNS[field][0]);
  const record = brokenRecord(stored, fields, { parts, ...times });
  deleteLatents(sql);
  updateRow(sql, record);
  return record;
}

/** A stage as stored, planned or done: before there was a cache every step of it was evaluated. */
const evaluated = <Stage extends { readonly steps: number; readonly evaluations: number }>(stage: Stage): Stage => ({
  ...stage,
  evaluations: stage.evaluations ?? stage.steps,
});

/** A row as a record. Throws Unreadable. */
function toRecord(row: Row): JobRecord {
  const stored = storedValues(row);
  const broken = unreadableFields(stored);
  if (broken.length > 0) throw new Unreadable(broken.map((field) => COLUMNS[field][0]));
  const record = stored as unknown as JobRecord;
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
  return { ...record, request, receipt, failure, plan };
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

export function insertRow(sql: SqlStorage, row: JobRecord): void {
  const columns = FIELDS.map((field) => COLUMNS[field][0]);
  sql.exec(
    `INSERT INTO job (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`,
    ...FIELDS.map((field) => toColumn(field, row[field])),
  );
}

export function updateRow(sql: SqlStorage, changes: Partial<JobRecord>): void {
  const fields = Object.keys(changes) as Field[];
  sql.exec(
    `UPDATE job SET ${fields.map((field) => `${COLUMNS[field][0]} = ?`).join(', ')}`,
    ...fields.map((field) => toColumn(field, changes[field])),
  );
}

/** Appends an event and returns it with its place in the order. */
export function appendEvent(sql: SqlStorage, event: JobEvent, at: number): StoredEvent {
  const { seq } = sql
    .exec<{ seq: number }>(
      'INSERT INTO event (type, data, at) VALUES (?, ?, ?) RETURNING seq',
      event.type,
      checked(`event.${event.type}`, JSON.stringify(event.data)),
      at,
    )
    .one();
  return { ...event, seq, at };
}

/** Whether a row's data can be read; an event that cannot be is left out. */
const IS_OBJECT = "CASE WHEN json_valid(data) THEN json_type(data) = 'object' ELSE 0 END";

/** Up to `limit` events after `seq`, in order. */
export function readEvents(sql: SqlStorage, seq: number, limit: number): readonly StoredEvent[] {
  return sql
    .exec<{ seq: number; type: string; data: string; at: number }>(
      `SELECT seq, type, data, at FROM event WHERE seq > ? AND ${IS_OBJECT} ORDER BY seq LIMIT ?`,
      seq,
      limit,
    )
    .toArray()
    .map((row) => toEvent(sql, row));
}

function toEvent(
  sql: SqlStorage,
  row: { readonly seq: number; readonly type: string; readonly data: string; readonly at: number },
): StoredEvent {
  const event = { ...row, data: JSON.parse(row.data) } as StoredEvent;
  // an earlier version told less of the plan than there is to tell; the warnings came last
  if (event.type !== 'plan' || event.data.warnings !== undefined) return event;
  const { plan, request } = readRow(sql) as JobRecord;
  return { ...event, data: { ...event.data, ...viewPlan(plan, request) } };
}

/** The events that are lines of the story, in order: none of the many steps, none of the pictures of stages. */
export const readStory = (sql: SqlStorage): readonly StoredEvent[] =>
  sql
    .exec<{ seq: number; type: string; data: string; at: number }>(
      `SELECT seq, type, data, at FROM event WHERE type NOT IN ('queued', 'step', 'preview') AND ${IS_OBJECT} ORDER BY seq`,
    )
    .toArray()
    .map((row) => toEvent(sql, row));

/** The newest event; undefined before the first. */
export const readLastEvent = (sql: SqlStorage): StoredEvent | undefined =>
  readEvents(sql, (sql.exec<{ seq: number | null }>('SELECT MAX(seq) AS seq FROM event').one().seq ?? 0) - 1, 1)[0];

/** What `read` returns. Throws Unreadable with the table's name for whatever it throws. */
function readable<T>(table: string, read: () => T): T {
  try {
    return read();
  } catch {
    throw new Unreadable([table]);
  }
}

/**
 * The whole job as its rooms read it: the row with its latents, picture and usage. Throws Unreadable with the table at
 * fault.
 */
export const readJob = (sql: SqlStorage, row: JobRecord): Job => ({
  ...readable('blob', () => readTensors(sql)),
  usage: readUsage(sql),
  id: row.id,
  request: row.request,
  plan: row.plan,
  room: row.room,
  selections: row.selections,
});

function readTensors(sql: SqlStorage): Pick<Job, 'tokens' | 'rgb'> {
  const tokens = readMessage(sql, 'tokens');
  const rgb = readMessage(sql, 'rgb');
  return {
    tokens: tokens && {
      latents: floats(tokens, 'latents'),
      imgIds: floats(tokens, 'img_ids'),
      scale: bytes(tokens, 'scale').data,
    },
    rgb: rgb && {
      data: bytes(rgb, 'rgb').data,
      height: bytes(rgb, 'rgb').shape[0] as number,
      width: bytes(rgb, 'rgb').shape[1] as number,
    },
  };
}

/** The usage of every finished stage, in order. Throws Unreadable. */
export const readUsage = (sql: SqlStorage): readonly StageUsage[] =>
  readable('usage', () =>
    sql
      .exec<{ data: string }>('SELECT data FROM usage ORDER BY stage')
      .toArray()
      .map(({ data }) => evaluated(JSON.parse(data) as StageUsage)),
  );

/** The usage of every finished stage whose row can be read: what an end has on its receipt. */
export const readableUsage = (sql: SqlStorage): readonly StageUsage[] =>
  sql
    .exec<{ data: string }>(`SELECT data FROM usage WHERE ${IS_OBJECT} ORDER BY stage`)
    .toArray()
    .map(({ data }) => evaluated(JSON.parse(data) as StageUsage));

/** Steps that were heard of, by stage. */
export interface HeardSteps {
  /** of the run that counts: since the stage last began anew, what a crash cut off included */
  readonly counted: ReadonlyMap<number, number>;
  /** of every run together, those that led to nothing too */
  readonly everyRun: ReadonlyMap<number, number>;
}

/** The steps of all stages that were heard of. A stage begins anew after each `retry`. */
export function heardSteps(sql: SqlStorage): HeardSteps {
  const rows = sql
    .exec<{ type: string; stage: number | null; step: number | null }>(
      `SELECT type, json_extract(data, '$.stage') AS stage, json_extract(data, '$.step') AS step FROM event
       WHERE type IN ('step', 'retry') AND ${IS_OBJECT} ORDER BY seq`,
    )
    .toArray();
  const counted = new Map<number, number>();
  const everyRun = new Map<number, number>();
  for (const { type, stage, step } of rows) {
    if (stage === null) continue;
    const before = counted.get(stage) ?? 0;
    const now = type === 'retry' ? 0 : Math.max(before, Number(step) || 0);
    counted.set(stage, now);
    everyRun.set(stage, (everyRun.get(stage) ?? 0) + Math.max(0, now - before));
  }
  return { counted, everyRun };
}

/** Removes latents and pictures: nobody needs them once the job has ended. */
export function deleteLatents(sql: SqlStorage): void {
  sql.exec('DELETE FROM blob');
}

/** Removes all that a job holds of its caller: prompt, plan, latents, events, usage. What stays is told to others. */
export function deleteContent(sql: SqlStorage): void {
  for (const table of ['job', 'blob', 'event', 'usage', 'attempt']) sql.exec(`DELETE FROM ${table}`);
}

/** Writes what a room changed: latents, picture, selection and the usage of a stage just finished. */
export function writeJob(sql: SqlStorage, before: Job, after: Job): void {
  if (after.tokens !== before.tokens) {
    const n = after.tokens?.scale.length ?? 0;
    writeMessage(
      sql,
      'tokens',
      after.tokens && {
        metadata: {},
        tensors: {
          latents: { data: after.tokens.latents, shape: [n, after.tokens.latents.length / n] },
          img_ids: { data: after.tokens.imgIds, shape: [n, 3] },
          scale: { data: after.tokens.scale, shape: [n] },
        },
      },
    );
  }
  if (after.rgb !== before.rgb)
    writeMessage(
      sql,
      'rgb',
      after.rgb && {
        metadata: {},
        tensors: { rgb: { data: after.rgb.data, shape: [after.rgb.height, after.rgb.width, 3] } },
      },
    );
  if (after.selections !== before.selections) updateRow(sql, { selections: after.selections });
  for (const used of after.usage.slice(before.usage.length))
    sql.exec('INSERT INTO usage (stage, data) VALUES (?, ?)', used.stage, JSON.stringify(used));
}

/** A message under a name, cut into parts that fit a row; null removes it. */
function writeMessage(sql: SqlStorage, name: string, message: Message | null): void {
  sql.exec('DELETE FROM blob WHERE name = ?', name);
  if (!message) return;
  const data = encodeMessage(message);
  for (let part = 0; part * MAX_ROW_BYTES < data.length; part++) {
    sql.exec(
      'INSERT INTO blob (name, part, data) VALUES (?, ?, ?)',
      name,
      part,
      data.slice(part * MAX_ROW_BYTES, (part + 1) * MAX_ROW_BYTES).buffer,
    );
  }
}

function readMessage(sql: SqlStorage, name: string): Message | null {
  const parts = sql.exec<{ data: ArrayBuffer }>('SELECT data FROM blob WHERE name = ? ORDER BY part', name).toArray();
  if (parts.length === 0) return null;
  const data = new Uint8Array(parts.reduce((sum, part) => sum + part.data.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    data.set(new Uint8Array(part.data), at);
    at += part.data.byteLength;
  }
  return decodeMessage(data);
}

function floats(message: Message, name: string): Float32Array {
  const data = message.tensors[name]?.data;
  if (!(data instanceof Float32Array)) throw new Error(`stored message without ${name}`);
  return data;
}

function bytes(message: Message, name: string): Tensor<Uint8Array> {
  const tensor = message.tensors[name];
  if (!(tensor?.data instanceof Uint8Array)) throw new Error(`stored message without ${name}`);
  return tensor as Tensor<Uint8Array>;
}
