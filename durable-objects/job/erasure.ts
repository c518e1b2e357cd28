/**
 * How what is stored of a job goes, because somebody wants it or because its time is over: all content in one
 * transaction, and what others have to hear of it stored with that. What the account and the stage servers have to hear
 * stays in the outbox until they have; then nothing is left.
 */
import type { JobRecord } from '../../src/job/job.ts';
import { logLine } from '../../src/job/log.ts';
import { DROPPED_AT_ERASURE, type DueLetter, lettersAtErasure } from '../../src/job/outbox.ts';
import { isLastRoom } from '../../src/job/story.ts';
import { within } from '../../src/stage/time-limit.ts';
import type { Alarm } from '../alarm.ts';
import { readAttempts } from './attempts.ts';
import type { Outbox } from './outbox.ts';
import { addLetter, hastenLetters, lettersOf, removeLetters } from './outbox-tables.ts';
import type { Rows } from './rows.ts';
import { deleteContent } from './tables.ts';

/** How long an erasure waits for the walk it ends. */
const WALK_END_MS = 10_000;

/** What an erasure needs of its job. */
export interface Erasable {
  readonly rows: Rows;
  readonly alarm: Alarm;
  readonly outbox: () => Outbox;
  /** the stored job; one that cannot be read is ended first */
  readonly row: () => JobRecord | null;
  readonly cancel: (row: JobRecord) => void;
  /** who watches hears that something was stored, or is gone */
  readonly notify: () => void;
  /** the walk under way */
  readonly walking: () => Promise<unknown> | null;
}

export interface Erasure {
  /** What is to be told when the job is erased at `now`. */
  letters(now: number): readonly DueLetter[];
  /** The job's time is over: removes its content. */
  expire(): void;
  /**
   * Removes prompt, picture, latents and events of a job of `owner` at once; false where there is none. Throws when the
   * bucket does not delete the picture: asking again tries again.
   */
  erase(owner: string): Promise<boolean>;
}

export function makeErasure({ rows, alarm, outbox, row, cancel, notify, walking }: Erasable): Erasure {
  function letters(now: number): readonly DueLetter[] {
    const stored = row();
    return stored ? lettersAtErasure(stored, readAttempts(rows), now) : [];
  }

  function scrub(why: 'erased' | 'expired'): void {
    const stored = row();
    if (!stored) return;
    const now = Date.now();
    rows.transact(() => {
      const toTell = letters(now);
      removeLetters(rows, DROPPED_AT_ERASURE);
      for (const { letter, dueAt } of toTell) addLetter(rows, letter, dueAt);
      deleteContent(rows);
      alarm.by(now);
    });
    notify();
    logLine('job_erased', { job_id: stored.id, why });
  }

  /** Whether the bucket has not deleted the picture of an erased job of `owner`. */
  function isErasing(owner: string): boolean {
    if (row()) return false;
    return lettersOf(rows, 'picture').some(
      (letter) => letter.payload.account === owner && (letter.tries > 0 || letter.dueAt <= Date.now()),
    );
  }

  return {
    letters,
    expire: () => scrub('expired'),
    async erase(owner) {
      const stored = row();
      const own = stored?.account === owner ? stored : null;
      if (!own && !isErasing(owner)) return false;
      if (own && !isLastRoom(own.room)) {
        cancel(own);
        // who watches sees the end before its event goes
        await new Promise((resolve) => setTimeout(resolve, 0));
      }
      if (own) scrub('erased');
      else hastenLetters(rows, 'picture', Date.now());
      outbox().dropCalls();
      // a picture on its way to the bucket must not arrive behind the erasure
      await within(WALK_END_MS, 'the end of the walk', Promise.resolve(walking())).catch(() => undefined);
      await outbox().deliverInside();
      // the delivery that was joined may have been at its end
      if (isErasing(owner)) await outbox().deliverInside();
      if (isErasing(owner)) throw new Error('the bucket has not deleted the picture');
      return true;
    },
  };
}
