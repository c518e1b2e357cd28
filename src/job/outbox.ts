/**
 * What an ended job still has to tell others, one letter each. A letter is stored in the transaction that ends the job
 * and removed when it was taken, so each is delivered at least once. None carries content of the job. Pure.
 */
import type { EndTaken, JobEnd } from '../account/account.ts';
import type { MeterEvent } from '../billing/stripe.ts';
import { type EndedFacts, type UsageEvent, usageEvent } from '../billing/usage-event.ts';
import type { JobRecord } from './job.ts';
import { pictureKeys } from './unreadable.ts';
import { LONGEST_PAUSE_MS } from './webhook.ts';
import { wantsEnd } from './webhook-news.ts';

export type Letter =
  /** the account: the job has ended. With what others are told of that once the account has answered; null: nothing */
  | {
      readonly kind: 'ended';
      readonly payload: { readonly account: string; readonly job: string; readonly facts: EndedFacts | null } & JobEnd;
    }
  /** the deployment's sink of events, or its queue: the job has ended, and what it cost */
  | { readonly kind: 'event'; readonly payload: UsageEvent }
  /** a meter at Stripe: what the job cost */
  | { readonly kind: 'meter'; readonly payload: MeterLetter }
  /** the account: the job is no longer stored; goes out after `ended` was taken */
  | { readonly kind: 'erased'; readonly payload: { readonly account: string; readonly job: string } }
  /** the caller's own server; the body is made from the job when it is sent */
  | { readonly kind: 'webhook'; readonly payload: null }
  /** the bucket: this picture must not be there */
  | { readonly kind: 'picture'; readonly payload: { readonly account: string; readonly key: string } }
  /** a stage server: stop this stage, or forget its kept result */
  | {
      readonly kind: 'forget';
      readonly payload: { readonly backend: string; readonly stageId: string; readonly worker?: string };
    }
  /** the job itself: its time is over */
  | { readonly kind: 'expire'; readonly payload: null };

/** A meter event, and how far it is. */
export interface MeterLetter extends MeterEvent {
  readonly account: string;
  /** when it was first sent since it was last known not to be there, milliseconds since 1970; null: never */
  readonly firstTriedAt: number | null;
  /** the meter has it; the account does not know yet */
  readonly isTaken: boolean;
}

export type LetterKind = Letter['kind'];
export const LETTER_KINDS = [
  'ended',
  'event',
  'meter',
  'erased',
  'webhook',
  'picture',
  'forget',
  'expire',
] as const satisfies readonly LetterKind[];

/** A letter and when it may go out, milliseconds since 1970. */
export interface DueLetter {
  readonly letter: Letter;
  readonly dueAt: number;
}

/** Where a stage request went, and what came of it. */
export interface SentStage {
  readonly backend: string;
  readonly stageId: string;
  /** the worker behind a gateway that has it; null where none was named */
  readonly worker: string | null;
  /**
   * `sent`: nothing was heard of it, and it may still run; `stored`: its result is; `failed`: it led to none;
   * `given_up`: it led to none, and its server is told
   */
  readonly outcome: 'sent' | 'stored' | 'failed' | 'given_up';
}

/** Letters to servers of others, which may hang: nobody who erases a job waits for these. */
export const OUTSIDE = ['webhook', 'event', 'meter'] as const satisfies readonly LetterKind[];

/** When a picture that was on its way as its job ended has arrived, or never will. */
const STRAY_MS = 60_000;

const pictures = (record: JobRecord): readonly Letter[] =>
  pictureKeys(record).map((key) => ({ kind: 'picture', payload: { account: record.account, key } }));
/** A server is to stop a stage, or forget its result. */
export const forget = ({ backend, stageId, worker }: SentStage): Letter => ({
  kind: 'forget',
  payload: { backend, stageId, ...(worker !== null && { worker }) },
});

/**
 * What has to be told when a job ends at `now`. `record` is the job in the room it leaves. Stages that may still run
 * for it are stopped; where it has no picture, one that its last stage may still put is removed.
 */
export function lettersAtEnd(
  record: JobRecord,
  {
    end,
    facts,
    expiresAt,
    now,
  }: {
    readonly end: JobEnd;
    readonly facts: EndedFacts | null;
    readonly expiresAt: number;
    readonly now: number;
  },
  sent: readonly SentStage[],
): readonly DueLetter[] {
  const { id: job, account, room, plan } = record;
  // of an unreadable job nobody knows where it stood
  const isLastStage =
    (room.name === 'stage' && room.stage === plan.stages.length) || record.failure?.reason === 'unreadable';
  const at =
    (dueAt: number) =>
    (letter: Letter): DueLetter => ({ letter, dueAt });
  // a request that was given up may still run where it was sent
  const running = sent.filter(({ outcome }) => outcome === 'sent' || outcome === 'failed');
  return [
    at(now)({ kind: 'ended', payload: { account, job, facts, ...end } }),
    ...(record.webhook && wantsEnd(record.webhook, true) ? [at(now)({ kind: 'webhook', payload: null })] : []),
    ...running.map(forget).map(at(now)),
    ...(end.status !== 'done' && isLastStage ? pictures(record).map(at(now + STRAY_MS)) : []),
    at(expiresAt)({ kind: 'expire', payload: null }),
  ];
}

/**
 * What has to be told once the account has taken the end of a job and answered `settled`: the event where the
 * deployment `hasSink`, the meter where the account's customer is still to be billed.
 */
export function lettersAfterSettling(
  { account, job, facts = null }: Extract<Letter, { kind: 'ended' }>['payload'],
  settled: EndTaken,
  { hasSink, publicUrl }: { readonly hasSink: boolean; readonly publicUrl: string },
): readonly Letter[] {
  if (settled === 'unlisted') return [];
  const letters: Letter[] = [];
  // an end that an earlier version stored has no facts
  if (hasSink && facts)
    letters.push({ kind: 'event', payload: usageEvent(facts, { job, account, settled }, publicUrl) });
  if (settled?.meteredCustomer && settled.captured > 0) {
    const { meteredCustomer: customer, captured: micro, at } = settled;
    letters.push({
      kind: 'meter',
      payload: { account, job, customer, micro, at, firstTriedAt: null, isTaken: false },
    });
  }
  return letters;
}

/**
 * What has to be told when an ended job is erased at `now`, beside what is still to be told of its end. Where its last
 * stage was tried more than once, a picture that an earlier try was too slow to put may still arrive.
 */
export function lettersAtErasure(record: JobRecord, sent: readonly SentStage[], now: number): readonly DueLetter[] {
  const { id: job, account, tries, finishedAt } = record;
  const straysUntil = (finishedAt ?? now) + STRAY_MS;
  return [
    ...sent.map((stage) => ({ letter: forget(stage), dueAt: now })),
    ...pictures(record).map((letter) => ({ letter, dueAt: now })),
    ...(tries > 1 && straysUntil > now ? pictures(record).map((letter) => ({ letter, dueAt: straysUntil })) : []),
    { letter: { kind: 'erased', payload: { account, job } }, dueAt: now },
  ];
}

/** Letters that an erased job no longer sends: they would need its content, or are sent anew. */
export const DROPPED_AT_ERASURE = ['webhook', 'expire', 'forget'] as const satisfies readonly LetterKind[];

/**
 * Letters that a job which turns out to be unreadable no longer sends, or sends anew. Where its end is still to be
 * told, that stays: it says what the job cost.
 */
export const DROPPED_AT_BREAK = ['webhook', 'expire', 'forget'] as const satisfies readonly LetterKind[];

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** First pause and longest one between two tries, and how many tries there are. */
const PAUSES: Readonly<Record<Exclude<LetterKind, 'webhook' | 'expire'>, readonly [number, number, number]>> = {
  ended: [5 * SECOND, 5 * MINUTE, Number.POSITIVE_INFINITY],
  erased: [5 * SECOND, 5 * MINUTE, Number.POSITIVE_INFINITY],
  picture: [5 * SECOND, HOUR, Number.POSITIVE_INFINITY],
  event: [5 * SECOND, HOUR, Number.POSITIVE_INFINITY],
  meter: [5 * SECOND, HOUR, Number.POSITIVE_INFINITY],
  // a stage that nobody reads ends by itself, and a kept result is forgotten after minutes
  forget: [5 * SECOND, 5 * MINUTE, 6],
};

/**
 * The longest that a letter may have to wait, milliseconds. One that is due later was stored before the clock stepped
 * back, and may go out.
 */
export const LONGEST_WAIT: Readonly<Record<LetterKind, number>> = {
  ended: PAUSES.ended[1],
  erased: PAUSES.erased[1],
  picture: PAUSES.picture[1],
  event: PAUSES.event[1],
  meter: PAUSES.meter[1],
  forget: PAUSES.forget[1],
  webhook: LONGEST_PAUSE_MS,
  // as long as the deployment says
  expire: Number.MAX_SAFE_INTEGER / 2,
};

/** Milliseconds until a letter that was not taken `tries` times is tried again; null: it is given up. */
export function pauseAfter(kind: keyof typeof PAUSES, tries: number): number | null {
  const [first, longest, most] = PAUSES[kind];
  return tries >= most ? null : Math.min(longest, first * 2 ** Math.min(30, tries - 1));
}

/**
 * Milliseconds until a letter is tried again that met a fault of ours `tries` times: a minute at first, twice as long
 * each time, at most an hour, and never longer than one of its kind may wait.
 */
export const pauseAfterFault = (kind: LetterKind, tries: number): number =>
  Math.min(HOUR, LONGEST_WAIT[kind], MINUTE * 2 ** Math.min(30, tries - 1));
