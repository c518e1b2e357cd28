/** The platform's `SqlStorage` over Node's SQLite, in memory: as far as the objects use it. */
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { deserialize, serialize } from 'node:v8';

type Row = Record<string, unknown>;

/** What `exec` gives. */
interface Cursor {
  toArray(): Row[];
  one(): Row;
  readonly rowsWritten: number;
}

export interface Sql {
  exec(query: string, ...bindings: readonly unknown[]): Cursor;
}

/** A database in memory. `draw` takes the place of SQLite's own chance. */
export function openDatabase(draw: () => number): DatabaseSync {
  const db = new DatabaseSync(':memory:');
  db.function('random', { deterministic: false }, () => Math.floor(draw() * 2 ** 31));
  return db;
}

/** Node binds parameters with a number, `?1`, by name alone. */
const named = (query: string): string => query.replaceAll(/\?(\d+)/g, ':p$1');
const READS = /^\s*SELECT\b/i;
const SEVERAL = /;\s*\S/;

const toInput = (value: unknown): SQLInputValue =>
  value instanceof ArrayBuffer ? new Uint8Array(value) : (value as SQLInputValue);

/** Blobs are buffers on the platform. */
function toRow(row: Row): Row {
  for (const [name, value] of Object.entries(row))
    if (value instanceof Uint8Array)
      row[name] = value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength);
  return { ...row };
}

interface Prepared {
  readonly statement: StatementSync;
  readonly isNumbered: boolean;
}

/** Statements live as long as their database: incarnations come and go. */
const prepared = new WeakMap<DatabaseSync, Map<string, Prepared>>();

/** The statement of a query, compiled once. */
export function prepare(db: DatabaseSync, query: string): Prepared {
  const all = prepared.get(db) ?? new Map<string, Prepared>();
  prepared.set(db, all);
  const known = all.get(query);
  if (known) return known;
  const isNumbered = /\?\d/.test(query);
  const made = { statement: db.prepare(isNumbered ? named(query) : query), isNumbered };
  all.set(query, made);
  return made;
}

/** SQL of an object: `touch` is called first, and told whether the statement may write; it throws for a dead one. */
export function sqlOver(db: DatabaseSync, touch: (writes: boolean) => void): Sql {
  function run(query: string, bindings: readonly unknown[]): { readonly rows: Row[]; readonly written: number } {
    if (bindings.length === 0 && SEVERAL.test(query)) {
      db.exec(query);
      return { rows: [], written: 1 };
    }
    const { statement, isNumbered } = prepare(db, query);
    const values = bindings.map(toInput);
    const args = isNumbered ? [Object.fromEntries(values.map((value, i) => [`p${i + 1}`, value]))] : values;
    if (READS.test(query) || /\bRETURNING\b/i.test(query)) {
      const rows = (statement.all(...(args as SQLInputValue[])) as Row[]).map(toRow);
      return { rows, written: READS.test(query) ? 0 : rows.length };
    }
    return { rows: [], written: Number(statement.run(...(args as SQLInputValue[])).changes) };
  }

  return {
    exec(query, ...bindings) {
      touch(!READS.test(query));
      const { rows, written } = run(query, bindings);
      return {
        toArray: () => rows,
        one() {
          if (rows.length !== 1) throw new Error(`Expected exactly one result from SQL query, but got ${rows.length}`);
          return rows[0] as Row;
        },
        rowsWritten: written,
      };
    },
  };
}

/** The platform's `SyncKvStorage`, as far as the objects use it. */
export interface Kv {
  get(key: string): unknown;
  put(key: string, value: unknown): void;
}

/** Values by key in a table of their own. `touch` as in `sqlOver`. */
export function kvOver(db: DatabaseSync, touch: (writes: boolean) => void): Kv {
  const isThere = (): boolean =>
    prepare(db, "SELECT 1 FROM sqlite_master WHERE name = 'kv'").statement.all().length > 0;
  return {
    get(key) {
      touch(false);
      const [row] = isThere() ? (prepare(db, 'SELECT value FROM kv WHERE key = ?').statement.all(key) as Row[]) : [];
      return row && deserialize(row.value as Uint8Array);
    },
    put(key, value) {
      touch(true);
      if (!isThere()) db.exec('CREATE TABLE kv (key TEXT PRIMARY KEY, value BLOB NOT NULL)');
      prepare(db, 'INSERT OR REPLACE INTO kv VALUES (?, ?)').statement.run(key, serialize(value));
    },
  };
}

/** Removes everything that is stored. */
export function dropAll(db: DatabaseSync): void {
  const tables = db
    .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    .all() as { name: string }[];
  for (const { name } of tables) db.exec(`DROP TABLE "${name}"`);
}
