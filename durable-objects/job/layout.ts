/**
 * How a job's rows came to lie as they do: the layouts of earlier versions, and the way from each to the next. A step
 * that has been deployed is never edited; a new one is appended.
 */
import type { JobRecord } from '../../src/job/job.ts';
import { jobWorkOf } from '../../src/job/record.ts';
import type { Webhook } from '../../src/job/webhook.ts';
import { decodeMessage, type Tensor } from '../../src/stage/safetensors.ts';
import { hasTables, migrate } from '../migrate.ts';
import { COLUMNS, CREATE_TABLE, FIELDS, LAYOUT, MAX_ROW_BYTES, parseJson, toRecord } from './columns.ts';
import { joined, writeLatents } from './latents.ts';

/** Steps of the layout of seven tables; its last one leads to the layout of one. */
export const SEVEN_TABLES = [
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
    const outcome = room.name === 'stage' ? 'sent' : room.name === 'done' ? 'stored' : 'failed';
    sql.exec('INSERT INTO attempt VALUES (?, ?, ?, ?, ?)', backend, stage_id, stage, record.attempt, outcome);
  }
  if (room.name !== 'done' && room.name !== 'failed' && room.name !== 'cancelled') return;
  const add = (kind: string, payload: unknown, dueAt: number, tries = 0): void => {
    sql.exec(
      'INSERT INTO outbox (kind, due_at, tries, payload) VALUES (?, ?, ?, ?)',
      kind,
      dueAt,
      tries,
      JSON.stringify(payload),
    );
  };
  if (told_at === null) {
    const work = room.name === 'done' && receipt ? jobWorkOf(record, receipt) : null;
    const { account, id: job } = record;
    add('ended', { account, job, facts: null, status: room.name, work, charge: null, excess: null }, 0);
  }
  if (webhook?.state === 'waiting') {
    const { dueAt = 0 } = webhook as Webhook & { readonly dueAt?: number };
    add('webhook', null, dueAt, webhook.tries);
  }
  add('expire', null, record.expiresAt ?? 0);
}

/** Whether anything is stored, and then it lies as this version has it. Asking leaves nothing behind. */
export function bringUpToDate(storage: DurableObjectStorage): boolean {
  const { sql } = storage;
  if (hasTables(sql)) {
    storage.transactionSync(() => {
      migrate(sql, SEVEN_TABLES);
      moveIntoOneTable(sql);
    });
    return true;
  }
  return sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'job'").toArray().length > 0;
}

/** Longest text of events that goes into one row as they are moved. */
const EVENTS_A_ROW = MAX_ROW_BYTES / 4;

/** From seven tables to one. What cannot be read stays so, under the same name. */
function moveIntoOneTable(sql: SqlStorage): void {
  sql.exec('ALTER TABLE job RENAME TO old_job');
  sql.exec(CREATE_TABLE);
  const [job] = sql.exec('SELECT * FROM old_job').toArray();
  const columns = FIELDS.map((field) => COLUMNS[field][0]).filter((column) => job && column in job);
  const letters = sql
    .exec('SELECT seq, kind, due_at, tries, payload FROM outbox ORDER BY seq')
    .toArray()
    .flatMap(({ due_at, payload, ...letter }) => {
      const said = parseJson(String(payload));
      return said === undefined ? [] : [{ ...letter, dueAt: due_at, payload: said }];
    });
  const attempts = sql
    .exec('SELECT backend, stage_id, stage, number, outcome, worker FROM attempt ORDER BY number')
    .toArray()
    .map(({ stage_id, ...attempt }) => ({ ...attempt, stageId: stage_id }));
  const values = {
    ...Object.fromEntries(columns.map((column) => [column, job?.[column] ?? null])),
    usage: `[${sql
      .exec('SELECT data FROM usage ORDER BY stage')
      .toArray()
      .map(({ data }) => data)
      .join(',')}]`,
    attempts: JSON.stringify(attempts),
    letters: JSON.stringify(letters),
    events: '',
    events_from: job ? moveEvents(sql) : 1,
  };
  const names = Object.keys(values);
  sql.exec(
    `INSERT INTO job (key, layout, ${names.join(', ')}) VALUES (0, ${LAYOUT}${', ?'.repeat(names.length)})`,
    ...Object.values(values),
  );
  if (job) moveLatents(sql);
  for (const table of ['old_job', 'blob', 'event', 'usage', 'attempt', 'outbox', 'migration'])
    sql.exec(`DROP TABLE ${table}`);
}

/** Events become lines, each at its place; one that cannot be read is an empty line. Returns the place after them. */
function moveEvents(sql: SqlStorage): number {
  let from = 1;
  let lines: string[] = [];
  let length = 0;
  const put = (): void => {
    if (lines.length > 0) sql.exec('INSERT INTO job (key, data) VALUES (?, ?)', from, lines.join(''));
    from += lines.length;
    lines = [];
    length = 0;
  };
  for (const { seq } of sql.exec('SELECT seq FROM event ORDER BY seq').toArray()) {
    const { type, data, at } = sql.exec('SELECT type, data, at FROM event WHERE seq = ?', seq).one();
    while (from + lines.length < Number(seq)) lines.push('\n');
    const said = parseJson(String(data));
    const line = said === undefined ? '\n' : `${JSON.stringify({ type, at, data: said })}\n`;
    if (length + line.length > EVENTS_A_ROW) put();
    lines.push(line);
    length += line.length;
  }
  put();
  return from;
}

/** What was stored under two names becomes one message. */
function moveLatents(sql: SqlStorage): void {
  const tensors: Record<string, Tensor> = {};
  for (const name of ['tokens', 'rgb']) {
    const parts = sql.exec<{ data: ArrayBuffer }>('SELECT data FROM blob WHERE name = ? ORDER BY part', name).toArray();
    try {
      if (parts.length > 0) Object.assign(tensors, decodeMessage(joined(parts)).tensors);
    } catch {
      sql.exec('INSERT INTO job (key, data) VALUES (-1, zeroblob(1))');
      return;
    }
  }
  if (Object.keys(tensors).length > 0) writeLatents(sql, { metadata: {}, tensors });
}
