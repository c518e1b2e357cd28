/**
 * The schema of an object's database: each step run once, in order. One that has been deployed is never edited; a new
 * one is appended.
 */

/** SQL, or what SQL alone cannot say. */
export type Step = string | ((sql: SqlStorage) => void);

/**
 * Whether anything was ever stored here. An object that was only asked about has no tables, and asking leaves none
 * behind.
 */
export const hasTables = (sql: SqlStorage): boolean =>
  sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migration'").toArray().length > 0;

/** Brings the schema up to date. Idempotent. */
export function migrate(sql: SqlStorage, steps: readonly Step[]): void {
  sql.exec('CREATE TABLE IF NOT EXISTS migration (version INTEGER PRIMARY KEY)');
  const done = sql.exec<{ count: number }>('SELECT COUNT(*) AS count FROM migration').one().count;
  steps.slice(done).forEach((step, i) => {
    if (typeof step === 'string') sql.exec(step);
    else step(sql);
    sql.exec('INSERT INTO migration (version) VALUES (?)', done + i + 1);
  });
}
