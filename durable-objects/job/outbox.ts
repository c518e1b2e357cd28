/**
 * What an ended job still has to tell others, delivered: each letter at least once, each with a time of its own, every
 * far side with a limit. Servers of others, which may hang, keep none of our own waiting. Where the last letter of a
 * job that is no longer stored is gone, nothing is left.
 */
import { jobOfImageKey } from '../../src/job/image-key.ts';
import { type Buckets, bucketOf } from '../../src/job/job-object.ts';
import { logLine } from '../../src/job/log.ts';
import {
  type DueLetter,
  type Letter,
  lettersAfterSettling,
  pauseAfter,
  pauseAfterFault,
} from '../../src/job/outbox.ts';
import type { AccountCalls, Objects } from '../../src/job/rpc.ts';
import { afterTry } from '../../src/job/webhook.ts';
import { wantsEnd } from '../../src/job/webhook-news.ts';
import type { StageServer } from '../../src/stage/client.ts';
import { within } from '../../src/stage/time-limit.ts';
import type { Alarm } from '../alarm.ts';
import type { LiveWebhook } from './live-webhook.ts';
import {
  addLetter,
  dueLetters,
  lettersOf,
  nextLetterAt,
  postponeLetter,
  removeLetter,
  removeUnreadableLetters,
  rewriteLetter,
  type StoredLetter,
} from './outbox-tables.ts';
import type { Rows } from './rows.ts';
import { hasRow, updateRow } from './tables.ts';
import { type MeterEnv, tellMeter } from './tell-meter.ts';
import { hasSink, type SinkEnv, tellSink } from './tell-sink.ts';
import type { WebhookEnv } from './tell-webhook.ts';
import type { WebhookTeller } from './webhook-parts.ts';

/** What a deployment gives the job's object for those it tells. */
export interface OutboxEnv extends SinkEnv, MeterEnv, WebhookEnv, Buckets {
  readonly ACCOUNTS: Objects<AccountCalls>;
  /**
   * address under which callers reach the service, with the path before `/v1` where there is one; empty: the one that
   * each request came to
   */
  readonly PUBLIC_URL: string;
}

/** What the outbox needs of its job. */
export interface Sender {
  readonly env: () => OutboxEnv;
  readonly rows: Rows;
  readonly alarm: Alarm;
  /** id of the job, for the log */
  readonly job: string;
  readonly webhook: WebhookTeller;
  /** what a webhook is told while the request goes on */
  readonly live: LiveWebhook;
  /** a stage server by the id of its backend; null where none is configured under it */
  readonly server: (backend: string) => StageServer | null;
  /** every stage server that is configured */
  readonly everyServer: () => readonly StageServer[];
  /** whether there is a job that has not ended */
  readonly isOpen: () => boolean;
  /** what is to be told when the job, which has ended, is erased now; nothing where it is no longer stored */
  readonly erasure: () => readonly DueLetter[];
  /** the job's time is over: removes its content, and puts in what is to be told of that */
  readonly expire: () => void;
}

export interface Outbox {
  /** Delivers what may go out now, then sets the alarm for the next letter. A second call joins the first. */
  deliver(): Promise<void>;
  /** The same, but for letters to servers of others. */
  deliverInside(): Promise<void>;
  /** Ends the calls of servers of others: nobody waits for them when the job is erased. */
  dropCalls(): void;
}

/** Longest wait for an account or the bucket. */
const FAR_SIDE_MS = 10_000;

/** Pauses before the other jobs of a request are looked at again: as long as has been waited. */
const OTHERS_MS = { first: 500, most: 60_000 } as const;
const pauseForOthers = (waitedMs: number): number => Math.min(OTHERS_MS.most, Math.max(OTHERS_MS.first, waitedMs));

/** How long a letter waits that somebody has to look at. */
const LOOK_MS = 3_600_000;

/**
 * What came of a letter: when to try again, or that it is done with, and which letters are to go out next; or that it
 * was the last, and nothing has to be kept.
 */
type Outcome = { readonly pauseMs: number } | { readonly next: readonly Letter[] } | 'all told';
const DONE: Outcome = { next: [] };

/** Our own objects, bucket and stage servers, or servers of others. */
type Lane = 'inside' | 'outside';

export function makeOutbox({
  env,
  rows,
  alarm,
  job: jobId,
  webhook,
  live,
  server,
  everyServer,
  isOpen,
  erasure,
  expire,
}: Sender): Outbox {
  const running: Record<Lane, Promise<void> | null> = { inside: null, outside: null };
  /** lanes that still deliver */
  const busy = new Set<Lane>();
  /** calls of servers of others under way */
  const calls = new Set<AbortController>();

  const run = (lane: Lane): Promise<void> =>
    (running[lane] ??= deliverAll(lane).finally(() => {
      running[lane] = null;
    }));

  async function deliverAll(lane: Lane): Promise<void> {
    // the alarm that comes after the last letter finds nothing any more
    if (!rows.isThere()) return;
    busy.add(lane);
    try {
      for (const kind of removeUnreadableLetters(rows))
        logLine('alert', { job_id: jobId, what: 'unreadable', part: `outbox, ${kind}` });
      const due = () => dueLetters(rows, lane, Date.now());
      for (let letters = due(); letters.length > 0; letters = due()) {
        const sent = await Promise.all(letters.map(sendOne));
        if (leavesNothing(sent)) {
          await removeAll();
          return;
        }
        rows.transact(() => sent.forEach(settle));
      }
    } finally {
      busy.delete(lane);
    }
    // the other lane may have come here first, and left nothing
    if (!rows.isThere()) return;
    const next = nextLetterAt(rows, Date.now());
    // a job that has not ended may have to wake sooner
    if (next !== null) (isOpen() ? alarm.by : alarm.set)(next);
    else if (!hasRow(rows) && busy.size === 0) await removeAll();
  }

  async function removeAll(): Promise<void> {
    alarm.forget();
    await rows.deleteAll();
  }

  type Sent = { readonly letter: StoredLetter; readonly outcome: Outcome };

  async function sendOne(letter: StoredLetter): Promise<Sent> {
    const outcome = await send(letter).catch((error): Outcome => {
      // a fault of ours: it must not keep the other letters, or be met again at once
      logLine('letter_threw', { job_id: jobId, kind: letter.kind, error: String(error) });
      return { pauseMs: pauseAfterFault(letter.kind, letter.tries + 1) };
    });
    return { letter, outcome };
  }

  /** Whether these were the last letters of a job that is no longer stored: then nothing is written before all goes. */
  function leavesNothing(sent: readonly Sent[]): boolean {
    if (sent.some(({ outcome }) => outcome === 'all told')) return true;
    const isDone = ({ outcome }: Sent): boolean => typeof outcome === 'object' && 'next' in outcome && !outcome.next[0];
    const told = new Set(sent.map(({ letter }) => letter.seq));
    const isLast = (rows.list('letters') ?? []).every(({ seq }) => told.has(seq));
    return isLast && sent.every(isDone) && !hasRow(rows) && busy.size === 1;
  }

  function settle({ letter, outcome }: Sent): void {
    if (outcome === 'all told') return;
    if ('next' in outcome) takeOut(letter, outcome.next);
    else postponeLetter(rows, letter.seq, Date.now() + outcome.pauseMs);
  }

  /** Removes a letter that was taken, and puts those in that follow from it: both or none. */
  function takeOut({ seq }: StoredLetter, next: readonly Letter[]): void {
    rows.transact(() => {
      // one that was withdrawn meanwhile has nothing follow
      if (!removeLetter(rows, seq)) return;
      for (const letter of next) if (lettersOf(rows, letter.kind).length === 0) addLetter(rows, letter, Date.now());
    });
  }

  async function send(letter: StoredLetter): Promise<Outcome> {
    switch (letter.kind) {
      case 'ended': {
        const { account, job, status, work, charge = null, excess = null } = letter.payload;
        return attempt(
          letter,
          () => env().ACCOUNTS.getByName(account).ended(job, { status, work, charge, excess }),
          (settled) =>
            lettersAfterSettling(letter.payload, settled, { hasSink: hasSink(env()), publicUrl: env().PUBLIC_URL }),
        );
      }
      case 'erased': {
        const { account, job } = letter.payload;
        return attempt(letter, () => env().ACCOUNTS.getByName(account).erased(job));
      }
      case 'event':
        return attempt(letter, () => callOutside((signal) => tellSink(env(), letter.payload, signal)));
      case 'meter':
        return sendMeter(letter);
      case 'picture':
        return attempt(letter, () => bucketOf(env(), jobOfImageKey(letter.payload.key)).delete(letter.payload.key));
      case 'forget':
        return attempt(letter, async () => {
          const { backend, stageId, worker } = letter.payload;
          const known = server(backend);
          // a backend of another name now is still there under that: all are asked; who does not know the id says so
          const told = known ? [known.cancel(stageId, worker)] : everyServer().map((each) => each.cancel(stageId));
          if ((await Promise.all(told)).includes(false)) throw new Error(`${backend} was not reached`);
        });
      case 'webhook':
        return sendWebhook();
      case 'expire':
        return sendExpiry();
    }
  }

  /**
   * The job's time is over. Where nothing else waits, all that an erasure has to tell is told first: then one removal
   * leaves nothing, and nothing is written before. Where one does not hear it, the content goes now, and it is told
   * later.
   */
  async function sendExpiry(): Promise<Outcome> {
    const isAlone = (): boolean => hasRow(rows) && rows.list('letters')?.length === 1;
    const letters = erasure();
    if (isAlone() && letters.every(({ dueAt }) => dueAt <= Date.now())) {
      const told = await Promise.all(
        letters.map(({ letter, dueAt }) => send({ ...letter, dueAt, seq: 0, tries: 0 } as StoredLetter)),
      );
      if (isAlone() && told.every((outcome) => typeof outcome === 'object' && 'next' in outcome)) {
        logLine('job_erased', { job_id: jobId, why: 'expired' });
        return 'all told';
      }
    }
    expire();
    return DONE;
  }

  /** One try at a far side; what it fails with is logged, and tried again later. `next` follows from its answer. */
  async function attempt<T>(
    letter: Exclude<StoredLetter, { kind: 'webhook' | 'expire' }>,
    work: () => Promise<T>,
    next: (answer: T) => readonly Letter[] = () => [],
  ): Promise<Outcome> {
    try {
      return { next: next(await within(FAR_SIDE_MS, letter.kind, work())) };
    } catch (error) {
      logLine('letter_not_taken', { job_id: jobId, kind: letter.kind, tries: letter.tries + 1, error: String(error) });
      const pauseMs = pauseAfter(letter.kind, letter.tries + 1);
      return pauseMs === null ? DONE : { pauseMs };
    }
  }

  /** A call of a server of others, which `dropCalls` ends. */
  async function callOutside<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    calls.add(controller);
    try {
      return await call(controller.signal);
    } finally {
      calls.delete(controller);
    }
  }

  /** One try to bring a charge to its meter. */
  async function sendMeter(letter: Extract<StoredLetter, { kind: 'meter' }>): Promise<Outcome> {
    let { payload } = letter;
    const account = env().ACCOUNTS.getByName(payload.account);
    const save = (changes: Partial<typeof payload>): void => {
      payload = { ...payload, ...changes };
      rewriteLetter(rows, letter.seq, payload);
    };
    const told = await callOutside((signal) => tellMeter(payload, { env: env(), account, save, signal })).catch(
      (error) => {
        logLine('letter_not_taken', { job_id: jobId, kind: 'meter', tries: letter.tries + 1, error: String(error) });
        return 'again' as const;
      },
    );
    if (told === 'told') return DONE;
    return { pauseMs: told === 'later' ? LOOK_MS : (pauseAfter('meter', letter.tries + 1) ?? LOOK_MS) };
  }

  /** One call of the caller's own server; what came of it is stored with the job. */
  async function sendWebhook(): Promise<Outcome> {
    const look = await webhook.look();
    if (!look) return DONE;
    const { id, finishedAt, webhook: asked } = look.record;
    // the request has ended once all its jobs have; until then somebody has to look
    if (!look.isOver) {
      live.pictures(look.numPictures);
      const now = Date.now();
      return { pauseMs: pauseForOthers(now - (finishedAt ?? now)) };
    }
    if (!wantsEnd(asked, look.numPictures > 0)) return DONE;
    await live.end();
    const status = await callOutside((signal) => webhook.call(look, id, signal));
    if (status === 'erased' || !hasRow(rows)) return DONE;
    const after = afterTry(asked, status);
    logLine('webhook_called', { job_id: id, try: after.webhook.tries, status, state: after.webhook.state });
    updateRow(rows, { webhook: after.webhook });
    return after.pauseMs === null ? DONE : { pauseMs: after.pauseMs };
  }

  return {
    async deliver() {
      // who watches hears of an end first
      await new Promise((resolve) => setTimeout(resolve, 0));
      // what the account has taken may have letters follow to servers of others
      await Promise.all([run('inside').then(() => run('outside')), run('outside')]);
    },
    deliverInside: () => run('inside'),
    dropCalls() {
      live.drop();
      for (const call of calls) call.abort();
    },
  };
}
