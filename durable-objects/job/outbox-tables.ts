/** The letters of a job's outbox, a list in its row. docs/storage.md has an example of each kind. Nothing awaits. */
import { LETTER_KINDS, type Letter, type LetterKind, LONGEST_WAIT, OUTSIDE } from '../../src/job/outbox.ts';
import type { StoredLetter } from './columns.ts';
import type { Rows } from './rows.ts';

export type { StoredLetter } from './columns.ts';

/** The letters that can be read. */
const letters = (rows: Rows): readonly StoredLetter[] => (rows.list('letters') ?? []).filter(isReadable);

function isReadable(letter: StoredLetter | null): boolean {
  if (typeof letter !== 'object' || letter === null) return false;
  const { kind, seq, dueAt, tries, payload } = letter;
  return LETTER_KINDS.includes(kind) && [seq, dueAt, tries].every(Number.isFinite) && typeof payload === 'object';
}

/** Puts a letter in, to go out at `dueAt`. */
export function addLetter(rows: Rows, letter: Letter, dueAt: number, tries = 0): void {
  rows.setList('letters', [...letters(rows), { ...letter, seq: rows.nextLetter(), dueAt, tries }]);
}

/** That a job is no longer stored is told after its account knows how it ended. */
const mayGo = (all: readonly StoredLetter[]): readonly StoredLetter[] =>
  all.some(({ kind }) => kind === 'ended') ? all.filter(({ kind }) => kind !== 'erased') : all;

/** When a letter is due. One that is due later than any may be was stored before the clock stepped back: now. */
const dueAt = (letter: StoredLetter, now: number): number =>
  letter.dueAt > now + (LONGEST_WAIT[letter.kind] ?? 0) ? now : letter.dueAt;

const isOutside = ({ kind }: StoredLetter): boolean => (OUTSIDE as readonly LetterKind[]).includes(kind);

/** The letters that may go out at `now`, to servers of others or to our own, in the order in which they were put in. */
export const dueLetters = (rows: Rows, where: 'outside' | 'inside', now: number): readonly StoredLetter[] =>
  mayGo(letters(rows)).filter((letter) => isOutside(letter) === (where === 'outside') && dueAt(letter, now) <= now);

/** When the next letter may go out, seen at `now`, as an alarm takes it: never before 1; null: none is left. */
export function nextLetterAt(rows: Rows, now: number): number | null {
  const due = mayGo(letters(rows)).map((letter) => dueAt(letter, now));
  return due.length === 0 ? null : Math.max(1, Math.min(...due));
}

/** The stored letters of one kind. */
export const lettersOf = <Kind extends LetterKind>(
  rows: Rows,
  kind: Kind,
): readonly Extract<StoredLetter, { kind: Kind }>[] =>
  letters(rows).filter((letter) => letter.kind === kind) as readonly StoredLetter[] as readonly Extract<
    StoredLetter,
    { kind: Kind }
  >[];

/** The kinds of letters that are stored, in the order of the alphabet. */
export const waitingKinds = (rows: Rows): readonly LetterKind[] =>
  [...new Set(letters(rows).map(({ kind }) => kind))].filter((kind) => kind !== 'expire').toSorted();

/** Removes the letters that cannot be read, so that they do not keep the others. Returns their kinds. */
export function removeUnreadableLetters(rows: Rows): readonly string[] {
  const all = rows.list('letters');
  if (all === null) {
    rows.setList('letters', []);
    return ['all'];
  }
  const unreadable = all.filter((letter) => !isReadable(letter));
  if (unreadable.length > 0) rows.setList('letters', all.filter(isReadable));
  return unreadable.map((letter) => String(letter?.kind));
}

/** Removes a letter. False where it is not there any more. */
export function removeLetter(rows: Rows, seq: number): boolean {
  const all = letters(rows);
  const rest = all.filter((letter) => letter.seq !== seq);
  if (rest.length < all.length) rows.setList('letters', rest);
  return rest.length < all.length;
}

/** A stage is asked for again where it was to be forgotten: the letter that has not been taken would stop it there. */
export const removeForget = (rows: Rows, backend: string, stageId: string): void =>
  keepAll(
    rows,
    letters(rows).filter(
      ({ kind, payload }) => kind !== 'forget' || payload.backend !== backend || payload.stageId !== stageId,
    ),
  );

/** What a letter says from now on. */
export const rewriteLetter = (rows: Rows, seq: number, payload: Letter['payload']): void =>
  change(rows, (letter) => (letter.seq === seq ? ({ ...letter, payload } as StoredLetter) : letter));

/** Removes every letter of these kinds. */
export const removeLetters = (rows: Rows, kinds: readonly LetterKind[]): void =>
  keepAll(
    rows,
    letters(rows).filter(({ kind }) => !kinds.includes(kind)),
  );

/** The letter was not taken: it goes out again at `dueAt`. */
export const postponeLetter = (rows: Rows, seq: number, dueAt: number): void =>
  change(rows, (letter) => (letter.seq === seq ? { ...letter, dueAt, tries: letter.tries + 1 } : letter));

/** Letters of one kind that were not taken go out again at once. */
export const hastenLetters = (rows: Rows, kind: LetterKind, now: number): void =>
  change(rows, (letter) => (letter.kind === kind && letter.tries > 0 ? { ...letter, dueAt: now } : letter));

const change = (rows: Rows, to: (letter: StoredLetter) => StoredLetter): void => keepAll(rows, letters(rows).map(to));

/** Stores the list where it is another than before. */
function keepAll(rows: Rows, list: readonly StoredLetter[]): void {
  const before = letters(rows);
  if (list.length !== before.length || list.some((letter, i) => letter !== before[i])) rows.setList('letters', list);
}
