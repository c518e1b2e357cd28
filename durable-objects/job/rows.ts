/**
 * The stored job, and the only way to it. What was read stays in memory, parsed once; a transaction changes it there,
 * and is stored by one UPDATE of the job's row, however much it changed. Law: what is in memory is what is stored.
 */
import type { JobEvent, StoredEvent } from '../../src/job/events.ts';
import type { JobRecord } from '../../src/job/job.ts';
import { Unreadable, unreadableFields } from '../../src/job/unreadable.ts';
import {
  asRead,
  COLUMNS,
  CREATE_TABLE,
  checked,
  FIELDS,
  FILLED_IN,
  type Field,
  LAYOUT,
  LISTS,
  type Lists,
  MAX_ROW_BYTES,
  parseJson,
  storedValues,
  toColumn,
  toRecord,
} from './columns.ts';
import { bringUpToDate } from './layout.ts';

/** Events that stand together: `from` is the place of the first, `upTo` the place after the last. */
export interface EventLines {
  readonly from: number;
  readonly upTo: number;
  /** the text of each; fewer than there are events where it cannot be read */
  readonly lines: readonly string[];
}

export interface Rows {
  readonly sql: SqlStorage;
  /**
   * Runs `work`, whose changes are stored together, or none where it throws. One inside another belongs to it. `work`
   * may not await.
   */
  transact<T>(work: () => T): T;
  /** Runs `work` once the transaction under way is stored, and never where it is undone; at once outside of one. */
  onCommit(work: () => void): void;
  /** Whether anything is stored: a job, or what an erased one still has to tell. */
  isThere(): boolean;
  /** Whether a job is stored, readable or not. */
  hasJob(): boolean;
  /** The job; null when there is none. Throws Unreadable with the columns at fault, that of the letters too. */
  record(): JobRecord | null;
  insert(record: JobRecord): void;
  /** Changes fields of the job; all of them where it cannot be read. Does nothing where none is stored. */
  update(changes: Partial<JobRecord>): void;
  /** The values of the job's row as they stand, and the fields that cannot be read; null when there is none. */
  raw(): { readonly values: Readonly<Record<Field, unknown>>; readonly broken: readonly Field[] } | null;
  /** A list of the row; null where it cannot be read. Empty where nothing is stored. */
  list<Name extends keyof Lists>(name: Name): Lists[Name] | null;
  setList<Name extends keyof Lists>(name: Name, list: Lists[Name]): void;
  /** The number of the next letter: no two of an incarnation have the same. */
  nextLetter(): number;
  /** Appends events and returns them with their places in the order: 1, 2, 3 … */
  append(events: readonly JobEvent[], at: number): readonly StoredEvent[];
  /** How many events there are. */
  numEvents(): number;
  /** The event at place `seq` with all that stand with it; null where there is none. */
  linesAt(seq: number): EventLines | null;
  /** Removes all but the letters. */
  erase(): void;
  /** Removes everything, the alarm too. */
  deleteAll(): Promise<void>;
}

/** Longest text of events that the job's own row keeps: it is written anew with every change. */
export const MAX_OWN_EVENTS = 64 * 1024;

interface Memory {
  /** null: erased */
  record: JobRecord | Unreadable | null;
  lists: { [Name in keyof Lists]: Lists[Name] | null };
  /** the events that the job's own row holds: place of the first, how many, how long they are as text */
  events: { readonly from: number; readonly count: number; readonly length: number };
}

/** What a transaction has changed so far. */
interface Changes {
  isNew: boolean;
  readonly columns: Map<string, SqlStorageValue>;
  readonly lines: string[];
}

const EMPTY_LISTS: Lists = { usage: [], attempts: [], letters: [] };
const NO_EVENTS = { from: 1, count: 0, length: 0 } as const;

const READ = `SELECT ${[...FIELDS.map((field) => COLUMNS[field][0]), ...LISTS].join(', ')}, events_from,
  LENGTH(events) AS events_length, LENGTH(events) - LENGTH(REPLACE(events, char(10), '')) AS events_count
  FROM job WHERE key = 0`;

export function makeRows(storage: DurableObjectStorage, onRollback: () => void = () => undefined): Rows {
  const { sql } = storage;
  let memory: Memory | null = null;
  let changes: Changes | null = null;
  let committed: (() => void)[] = [];
  let lastLetter = 0;

  /** What is stored, read once; null where nothing is. */
  function stored(): Memory | null {
    if (memory) return memory;
    if (!bringUpToDate(storage)) return null;
    const row = sql.exec(READ).toArray()[0];
    if (!row) return null;
    const list = <Name extends keyof Lists>(name: Name): Lists[Name] | null => {
      const value = row[name] ?? null;
      const said = value === null ? [] : parseJson(String(value));
      return Array.isArray(said) ? (said as readonly unknown[] as Lists[Name]) : null;
    };
    memory = {
      record: (row.id ?? null) === null ? null : readable(row),
      lists: { usage: list('usage'), attempts: list('attempts'), letters: list('letters') },
      events: {
        from: Number(row.events_from) || 1,
        count: Number(row.events_count),
        length: Number(row.events_length),
      },
    };
    return memory;
  }

  function readable(row: Readonly<Record<string, SqlStorageValue>>): JobRecord | Unreadable {
    try {
      return toRecord(row);
    } catch (error) {
      if (error instanceof Unreadable) return error;
      throw error;
    }
  }

  function transact<T>(work: () => T): T {
    if (changes) return work();
    let result: T;
    try {
      result = storage.transactionSync(() => {
        changes = { isNew: false, columns: new Map(), lines: [] };
        const made = work();
        store(changes);
        return made;
      });
    } catch (error) {
      memory = null;
      committed = [];
      onRollback();
      throw error;
    } finally {
      changes = null;
    }
    for (const then of committed.splice(0)) then();
    return result;
  }

  /** What a change of the stored job has to be noted in; null where nothing is stored. */
  const change = (work: (now: Memory, noted: Changes) => void): void =>
    transact(() => {
      const now = stored();
      if (now) work(now, changes as Changes);
    });

  function store({ isNew, columns, lines }: Changes): void {
    let appended = '';
    if (lines.length > 0 && memory) {
      const { from, count, length } = memory.events;
      const text = lines.join('');
      if (length + text.length <= MAX_OWN_EVENTS) {
        appended = text;
        memory.events = { from, count: count + lines.length, length: length + text.length };
      } else {
        for (const rest of rowsOf(from, [...ownLines(), ...lines]))
          sql.exec('INSERT INTO job (key, data) VALUES (?, ?)', rest.from, rest.lines.join(''));
        memory.events = { from: from + count + lines.length, count: 0, length: 0 };
        columns.set('events', '');
        columns.set('events_from', memory.events.from);
      }
    }
    if (isNew) {
      columns.set('events', appended);
      columns.set('events_from', memory?.events.from ?? 1);
      const names = [...columns.keys()];
      sql.exec(
        `INSERT OR REPLACE INTO job (key, layout, ${names.join(', ')}) VALUES (0, ${LAYOUT}${', ?'.repeat(names.length)})`,
        ...columns.values(),
      );
      return;
    }
    const sets = [...columns.keys()].map((name) => `${name} = ?`);
    if (appended) sets.push('events = events || ?');
    if (sets.length > 0)
      sql.exec(`UPDATE job SET ${sets.join(', ')} WHERE key = 0`, ...columns.values(), ...(appended ? [appended] : []));
  }

  /** The lines that the job's own row holds. */
  function ownLines(): readonly string[] {
    if (!memory || memory.events.count === 0) return [];
    return linesIn(sql.exec('SELECT events FROM job WHERE key = 0').one().events ?? null);
  }

  /** The lines of the transaction under way. */
  const newLines = (): readonly string[] => changes?.lines ?? [];

  function note(now: Memory, noted: Changes, record: JobRecord, fields: readonly Field[]): void {
    const values: Partial<Record<Field, unknown>> = {};
    for (const field of fields) {
      const value = toColumn(field, record[field]);
      noted.columns.set(COLUMNS[field][0], value);
      // as it will be read
      values[field] = COLUMNS[field][1] === 'json' && value !== null ? JSON.parse(String(value)) : value;
    }
    const read = { ...record, ...(values as Partial<JobRecord>) };
    now.record = fields.some((field) => FILLED_IN.includes(field)) ? asRead(read) : read;
  }

  const rows: Rows = {
    sql,
    transact,
    onCommit(work) {
      if (changes) committed.push(work);
      else work();
    },
    isThere: () => stored() !== null,
    hasJob: () => (stored()?.record ?? null) !== null,

    record() {
      const record = stored()?.record ?? null;
      if (record instanceof Unreadable) throw new Unreadable(record.parts);
      if (record && rows.list('letters') === null) throw new Unreadable(['letters']);
      return record;
    },

    insert(record) {
      transact(() => {
        sql.exec(CREATE_TABLE);
        memory = { record: null, lists: { ...EMPTY_LISTS }, events: NO_EVENTS };
        const noted = changes as Changes;
        noted.isNew = true;
        note(memory, noted, record, FIELDS);
        for (const name of LISTS) noted.columns.set(name, '[]');
      });
    },

    update(fields) {
      change((now, noted) => {
        if (now.record === null) return;
        const names = Object.keys(fields) as Field[];
        const isWhole = FIELDS.every((field) => field in fields);
        if (now.record instanceof Unreadable && !isWhole) throw now.record;
        note(now, noted, { ...(now.record as JobRecord), ...fields }, names);
      });
    },

    raw() {
      if (!rows.hasJob()) return null;
      const values = storedValues(sql.exec(READ).one());
      return { values, broken: unreadableFields(values) };
    },

    list: (name) => {
      const now = stored();
      return now ? now.lists[name] : EMPTY_LISTS[name];
    },

    setList(name, list) {
      change((now, noted) => {
        const text = checked(`job.${name}`, JSON.stringify(list));
        noted.columns.set(name, text);
        now.lists = { ...now.lists, [name]: JSON.parse(text) };
      });
    },

    nextLetter() {
      lastLetter = Math.max(lastLetter, ...(rows.list('letters') ?? []).map((letter) => Number(letter?.seq) || 0)) + 1;
      return lastLetter;
    },

    append(events, at) {
      const stored: StoredEvent[] = [];
      change((now, noted) => {
        for (const event of events) {
          noted.lines.push(`${checked(`event.${event.type}`, toLine(event, at))}\n`);
          stored.push({ ...event, seq: now.events.from + now.events.count + noted.lines.length - 1, at });
        }
      });
      return stored;
    },

    numEvents() {
      const now = stored();
      return now ? now.events.from - 1 + now.events.count + newLines().length : 0;
    },

    linesAt(seq) {
      const now = stored();
      if (!now || seq < 1 || seq > rows.numEvents()) return null;
      const { from, count } = now.events;
      const upTo = from + count;
      if (seq >= upTo) return { from: upTo, upTo: upTo + newLines().length, lines: newLines() };
      if (seq >= from) return { from, upTo, lines: ownLines() };
      const [row] = sql
        .exec('SELECT key, data FROM job WHERE key BETWEEN 1 AND ? ORDER BY key DESC LIMIT 1', seq)
        .toArray();
      const { next } = sql.exec('SELECT MIN(key) AS next FROM job WHERE key > ?', seq).one();
      return { from: Number(row?.key ?? 1), upTo: Number(next ?? from), lines: linesIn(row?.data ?? null) };
    },

    erase() {
      change((now, noted) => {
        sql.exec('DELETE FROM job WHERE key <> 0');
        for (const field of FIELDS) noted.columns.set(COLUMNS[field][0], null);
        for (const name of ['usage', 'attempts']) noted.columns.set(name, '[]');
        noted.columns.set('events', '');
        noted.columns.set('events_from', 1);
        noted.lines.length = 0;
        now.record = null;
        now.lists = { ...EMPTY_LISTS, letters: now.lists.letters };
        now.events = NO_EVENTS;
      });
    },

    async deleteAll() {
      memory = null;
      await storage.deleteAll();
    },
  };
  return rows;
}

/** An event as a line; JSON holds no raw line break. The type stands first: a reader may skip by it. */
const toLine = ({ type, data }: JobEvent, at: number): string => JSON.stringify({ type, at, data });

/** How the line of an event of this type begins. */
export const lineStart = (type: JobEvent['type']): string => `{"type":"${type}",`;

/** Lines as they are stored, each with its break. */
const linesIn = (text: SqlStorageValue): readonly string[] =>
  typeof text === 'string' ? (text.match(/[^\n]*\n/g) ?? []) : [];

/** Lines cut into texts that each fit a row, in order. */
export function rowsOf(
  from: number,
  lines: readonly string[],
): readonly { readonly from: number; readonly lines: readonly string[] }[] {
  const rows: { from: number; lines: string[]; bytes: number }[] = [];
  lines.forEach((line, i) => {
    const bytes = new TextEncoder().encode(line).length;
    const last = rows.at(-1);
    if (last && last.bytes + bytes <= MAX_ROW_BYTES) {
      last.lines.push(line);
      last.bytes += bytes;
    } else rows.push({ from: from + i, lines: [line], bytes });
  });
  return rows;
}
