/**
 * What an ended job still has to tell others, one letter each. A letter is stored in the transaction that ends the job
 * and removed when it was taken, so each is delivered at least once. None carries content of the job. Pure.
 */
import type { JobStatus, JobWork } from '../account/account.ts';

export type Letter =
  /** the account: the job has ended */
  | {
      readonly kind: 'ended';
      readonly payload: {
        readonly account: string;
        readonly job: string;
        readonly status: Exclude<JobStatus, 'open'>;
        readonly work: JobWork | null;
      };
    }
  /** the account: the job is no longer stored; goes out after `ended` was taken */
  | { readonly kind: 'erased'; readonly payload: { readonly account: string; readonly job: string } }
  /** the caller's own server; the body is made from the job when it is sent */
  | { readonly kind: 'webhook'; readonly payload: null }
  /** the bucket: this picture must not be there */
  | { readonly kind: 'picture'; readonly payload: { readonly account: string; readonly key: string } }
  /** a stage server: stop this stage, or forget its kept result */
  | { readonly kind: 'forget'; readonly payload: { readonly backend: string; readonly stageId: string } }
  /** the job itself: its time is over */
  | { readonly kind: 'expire'; readonly payload: null };

export type LetterKind = Letter['kind'];

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** First pause and longest one between two tries, and how many tries there are. */
const PAUSES: Readonly<Record<Exclude<LetterKind, 'webhook' | 'expire'>, readonly [number, number, number]>> = {
  ended: [5 * SECOND, 5 * MINUTE, Number.POSITIVE_INFINITY],
  erased: [5 * SECOND, 5 * MINUTE, Number.POSITIVE_INFINITY],
  picture: [5 * SECOND, HOUR, Number.POSITIVE_INFINITY],
  // a stage that nobody reads ends by itself, and a kept result is forgotten after minutes
  forget: [5 * SECOND, 5 * MINUTE, 6],
};

/** Milliseconds until a letter that was not taken `tries` times is tried again; null: it is given up. */
export function pauseAfter(kind: keyof typeof PAUSES, tries: number): number | null {
  const [first, longest, most] = PAUSES[kind];
  return tries >= most ? null : Math.min(longest, first * 2 ** Math.min(30, tries - 1));
}
