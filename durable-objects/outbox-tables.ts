/** The rows of a job's outbox. docs/storage.md shows each kind with an example. Nothing here awaits. */
import { LETTER_KINDS, type Letter, type LetterKind, LONGEST_WAIT, OUTSIDE } from '../src/job/outbox.ts';

/** A letter as it is stored. Times are milliseconds since 1970. */
export type StoredLetter = Letter & { readonly seq: number; readonly dueAt: number; readonly tries: number };

/** Puts a letter in, to go out at `dueAt`. */
export function addLetter(sql: SqlStorage, { kind, payload }: Letter, dueAt: number, tries = 0): void {
  sql.exec(
    'INSERT INTO outbox (kind, due_at, tries, payload) VALUES (?, ?, ?, ?)',
    kind,
    dueAt,
    tries,
    JSON.stringify(payload),
  );
}

/** That a job is no longer stored is told after its account knows how it ended. */
const MAY_GO = "(kind <> 'erased' OR NOT EXISTS (SELECT 1 FROM outbox WHERE kind = 'ended'))";

/** Whether a letter is due later than any may be at `?1`: the clock has stepped back since, and it may go out. */
const IS_LATE = `due_at > ?1 + CASE kind ${Object.entries(LONGEST_WAIT)
  .map(([kind, ms]) => `WHEN '${kind}' THEN ${ms}`)
  .join(' ')} ELSE 0 END`;

type Row = { seq: number; kind: string; due_at: number; tries: number; payload: string };
const toLetter = ({ due_at, payload, ...row }: Row): StoredLetter =>
  ({ ...row, dueAt: due_at, payload: JSON.parse(payload) }) as StoredLetter;

const IS_OUTSIDE = `kind IN (${OUTSIDE.map((kind) => `'${kind}'`).join(', ')})`;

/** The letters that may go out at `now`, to servers of others or to our own, in the order in which they were put in. */
export const dueLetters = (sql: SqlStorage, where: 'outside' | 'inside', now: number): readonly StoredLetter[] =>
  sql
    .exec<Row>(
      `SELECT * FROM outbox WHERE (due_at <= ?1 OR ${IS_LATE}) AND ${MAY_GO}
       AND ${where === 'outside' ? IS_OUTSIDE : `NOT ${IS_OUTSIDE}`} ORDER BY seq`,
      now,
    )
    .toArray()
    .map(toLetter);

/** When the next letter may go out, seen at `now`, as an alarm takes it: never before 1; null: none is left. */
export function nextLetterAt(sql: SqlStorage, now: number): number | null {
  const { at } = sql
    .exec<{ at: number | null }>(
      `SELECT MIN(CASE WHEN ${IS_LATE} THEN ?1 ELSE due_at END) AS at FROM outbox WHERE ${MAY_GO}`,
      now,
    )
    .one();
  return at === null ? null : Math.max(1, at);
}

/** The stored letters of one kind. */
export const lettersOf = <Kind extends LetterKind>(
  sql: SqlStorage,
  kind: Kind,
): readonly Extract<StoredLetter, { kind: Kind }>[] =>
  sql
    .exec<Row>('SELECT * FROM outbox WHERE kind = ? AND json_valid(payload) ORDER BY seq', kind)
    .toArray()
    .map(toLetter) as readonly StoredLetter[] as readonly Extract<StoredLetter, { kind: Kind }>[];

/** The kinds of letters that are stored. */
export const waitingKinds = (sql: SqlStorage): readonly LetterKind[] =>
  sql
    .exec<{ kind: LetterKind }>("SELECT DISTINCT kind FROM outbox WHERE kind <> 'expire' ORDER BY kind")
    .toArray()
    .map(({ kind }) => kind);

/** Removes the letters that cannot be read, so that they do not keep the others. Returns their kinds. */
export const removeUnreadableLetters = (sql: SqlStorage): readonly string[] =>
  sql
    .exec<{ kind: string }>(
      `DELETE FROM outbox WHERE NOT json_valid(payload) OR kind NOT IN (${LETTER_KINDS.map((kind) => `'${kind}'`).join(', ')})
       RETURNING kind`,
    )
    .toArray()
    .map(({ kind }) => kind);

/** Removes a letter. False where it is not there any more. */
export const removeLetter = (sql: SqlStorage, seq: number): boolean =>
  sql.exec('DELETE FROM outbox WHERE seq = ?', seq).rowsWritten > 0;

/** What a letter says from now on. */
export function rewriteLetter(sql: SqlStorage, seq: number, payload: Letter['payload']): void {
  sql.exec('UPDATE outbox SET payload = ? WHERE seq = ?', JSON.stringify(payload), seq);
}

/** Removes every letter of these kinds. */
export function removeLetters(sql: SqlStorage, kinds: readonly LetterKind[]): void {
  for (const kind of kinds) sql.exec('DELETE FROM outbox WHERE kind = ?', kind);
}

/** The letter was not taken: it goes out again at `dueAt`. */
export function postponeLetter(sql: SqlStorage, seq: number, dueAt: number): void {
  sql.exec('UPDATE outbox SET due_at = ?, tries = tries + 1 WHERE seq = ?', dueAt, seq);
}

/** Letters of one kind that were not taken go out again at once. */
export function hastenLetters(sql: SqlStorage, kind: LetterKind, now: number): void {
  sql.exec('UPDATE outbox SET due_at = ? WHERE kind = ? AND tries > 0', now, kind);
}
