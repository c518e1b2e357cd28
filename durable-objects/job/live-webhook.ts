/**
 * What a webhook is told while its request goes on. Only whoever asked for it is called: at once when the first stage
 * begins, and then at most twice a second where there is news, one call at a time, each with the request as it stands.
 * Nothing is stored for it and nothing waits for it: a call that comes to nothing is not repeated, and what the object
 * forgets is not told. The end is no part of it: that is a letter (outbox.ts), which comes after the last of these.
 */
import type { JobEvent } from '../../src/job/events.ts';
import { logLine } from '../../src/job/log.ts';
import type { Webhook } from '../../src/job/webhook.ts';
import { newsOf, wantsPictures } from '../../src/job/webhook-news.ts';
import type { WebhookTeller } from './webhook-parts.ts';

/** Shortest time from one call to the next, as Replicate has it. */
const GAP_MS = 500;
/** How long the end waits for a call that is under way, before it is given up. */
const LAST_MS = 1000;
/** The answer of a receiver that wants no more. */
const GONE = 410;

export interface LiveWebhook {
  /** Events were stored of a job under way. */
  note(events: readonly JobEvent[]): void;
  /** So many pictures of the request are done, while others are still made. */
  pictures(count: number): void;
  /** Another job of the request has its picture. */
  pictureMade(): void;
  /** Resolves when no call is under way any more, after a second at the latest; what was still to be told is not. */
  end(): Promise<void>;
  /** The same at once. */
  drop(): void;
}

interface Call {
  readonly controller: AbortController;
  readonly done: Promise<void>;
}

/** `webhook` is the job's as it is stored; `background` keeps the object alive for the work that it is given. */
export function makeLiveWebhook({
  job,
  webhook,
  teller,
  background,
}: {
  /** id of the job, for the log */
  readonly job: string;
  readonly webhook: () => Webhook | null;
  readonly teller: WebhookTeller;
  readonly background: (work: Promise<unknown>) => void;
}): LiveWebhook {
  let under: Call | null = null;
  let timer: ReturnType<typeof setTimeout> | null = null;
  /** there is something to tell that no call has told */
  let isDue = false;
  let nextAt = 0;
  let numPictures = 0;
  /** the news of the last call: told once, whoever brings them */
  let lastId = '';
  /** the address that wants no more */
  let gone: string | null = null;

  const asking = (): Webhook | null => {
    const asked = webhook();
    return asked && asked.url !== gone ? asked : null;
  };

  /** One call of the request as it stands; whose end is stored is told of that, and of nothing before. */
  async function tell(signal: AbortSignal): Promise<void> {
    const look = await teller.look();
    if (!look || look.isOver || signal.aborted) return;
    const id = `${look.record.id}-${look.numLines}-${look.numPictures}`;
    if (id === lastId) return;
    lastId = id;
    const status = await teller.call(look, id, signal);
    if (status === GONE) gone = look.record.webhook.url;
    logLine('webhook_told', { job_id: job, status });
  }

  function begin(): void {
    isDue = false;
    nextAt = Date.now() + GAP_MS;
    const controller = new AbortController();
    const done = tell(controller.signal)
      .catch((error) => logLine('webhook_told', { job_id: job, status: null, error: String(error) }))
      .finally(() => {
        if (under?.controller === controller) under = null;
        if (isDue) soon();
      });
    under = { controller, done };
    background(done);
  }

  /** Tells what is due, when that may be. */
  function soon(): void {
    isDue = true;
    if (under || timer !== null) return;
    const waitMs = Math.max(0, nextAt - Date.now());
    if (waitMs === 0) begin();
    else
      timer = setTimeout(() => {
        timer = null;
        if (isDue) begin();
      }, waitMs);
  }

  /** Nothing is due any more. */
  function forget(): void {
    isDue = false;
    numPictures = 0;
    if (timer !== null) clearTimeout(timer);
    timer = null;
  }

  function drop(): void {
    forget();
    under?.controller.abort();
  }

  return {
    note(events) {
      const asked = asking();
      const news = asked ? events.map((event) => newsOf(asked, event)) : [];
      if (news.includes('now')) nextAt = 0;
      if (news.some((each) => each !== null)) soon();
    },
    pictures(count) {
      const asked = asking();
      if (!asked || !wantsPictures(asked) || count <= numPictures) return;
      numPictures = count;
      soon();
    },
    pictureMade() {
      const asked = asking();
      if (asked && wantsPictures(asked)) soon();
    },
    async end() {
      forget();
      if (!under) return;
      const over = Promise.withResolvers<void>();
      const limit = setTimeout(over.resolve, LAST_MS);
      await Promise.race([under.done, over.promise]);
      clearTimeout(limit);
      drop();
    },
    drop,
  };
}
