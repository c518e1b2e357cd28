/**
 * What a running stage says of itself. Every step is told to whoever watches; few are stored, because a row costs and a
 * small model steps every few milliseconds.
 */
import type { JobEvent, ToldEvent } from '../../src/job/events.ts';
import type { StageProgress } from '../../src/stage/client.ts';

/** Who watches hears at most this often. */
const LIVE_MS = 100;
/** How long the last step of a stage waits to be stored with what the stage made, before it is told by itself. */
const LAST_MS = 2000;
/** Steps of a stage that are stored on the way, at the ends of its first three quarters. */
const STORED_ON_THE_WAY = 3;
const STORE_MS = 2000;

/** Something heard of a stage, and when. */
export interface Heard {
  readonly event: JobEvent;
  readonly at: number;
}

/** Something to tell those who watch, and when it was heard. */
export interface Told {
  readonly event: ToldEvent;
  readonly at: number;
}

export interface Progress {
  /** A sign of life of a stage. */
  add(job: string, stage: number, progress: StageProgress): void;
  /**
   * Stores the newest step, unless it is stored. Comes before any other event is stored, so that the order holds and an
   * end counts every step that was heard of.
   */
  flush(): void;
  /** The newest step where it is not stored. */
  unstored(): Heard | null;
  /** It is stored, by the caller. */
  drop(): void;
  /** The newest sign of life, where it is not stored. */
  latest(): Heard | null;
}

/** What was stored of the stage that runs. */
interface Stored {
  readonly stage: number;
  readonly onTheWay: number;
  /** when a step was last stored, or the stage first heard of */
  readonly at: number;
}

/** `tell` gets what is not stored, `store` what is, both in the order in which it was heard. */
export function makeProgress({
  store,
  tell,
}: {
  readonly store: (heard: Heard) => void;
  readonly tell: (heard: readonly Heard[]) => void;
}): Progress {
  let stored: Stored = { stage: 0, onTheWay: 0, at: 0 };
  let newest: Heard | null = null;
  const untold: Heard[] = [];
  let timer: ReturnType<typeof setTimeout> | null = null;
  let lastTimer: ReturnType<typeof setTimeout> | null = null;

  const tellNow = (): void => {
    const heard = untold.splice(0);
    if (heard.length > 0) tell(heard);
  };
  const tellSoon = (): void => {
    if (timer !== null) return;
    tellNow();
    timer = setTimeout(tellLater, LIVE_MS);
  };
  const tellLater = (): void => {
    timer = null;
    if (untold.length > 0) tellSoon();
  };

  /** The last step is stored with its stage, which is done in a moment. */
  const tellLate = (last: Heard): void => {
    if (lastTimer !== null) clearTimeout(lastTimer);
    lastTimer = setTimeout(() => {
      lastTimer = null;
      tellNow();
      tell([last]);
    }, LAST_MS);
  };

  const unstored = (): Heard | null => (newest?.event.type === 'step' ? newest : null);
  /** Nothing is left to store; what was heard before the newest step is told. */
  function drop(): void {
    for (const running of [timer, lastTimer]) if (running !== null) clearTimeout(running);
    timer = null;
    lastTimer = null;
    // who watches gets it as it is stored
    if (unstored() && untold.at(-1) === newest) untold.pop();
    newest = null;
    tellNow();
  }

  return {
    add(job, stage, progress) {
      const heard = { event: toEvent(job, stage, progress), at: Date.now() };
      if (stored.stage !== stage) stored = { stage, onTheWay: 0, at: heard.at };
      if (progress.event === 'step' && isStored(progress, stored, heard.at)) {
        stored = { stage, onTheWay: stored.onTheWay + 1, at: heard.at };
        newest = null;
        tellNow();
        store(heard);
        return;
      }
      newest = heard;
      if (progress.event === 'step' && progress.step >= progress.steps) tellLate(heard);
      else {
        untold.push(heard);
        tellSoon();
      }
    },
    flush() {
      const last = unstored();
      drop();
      if (last) store(last);
    },
    unstored,
    drop,
    latest: () => newest,
  };
}

/** Whether a step is stored at once: three on the way where steps are slow, and never the last. */
function isStored(
  { step, steps }: { readonly step: number; readonly steps: number },
  so: Stored,
  now: number,
): boolean {
  if (step >= steps) return false;
  const next = so.onTheWay + 1;
  return next <= STORED_ON_THE_WAY && now - so.at >= STORE_MS && step >= (steps * next) / (STORED_ON_THE_WAY + 1);
}

function toEvent(job: string, stage: number, progress: StageProgress): JobEvent {
  switch (progress.event) {
    case 'step': {
      const { step, steps, sigma, ms } = progress;
      return { type: 'step', data: { stage, step, steps, sigma, ms } };
    }
    case 'queued': {
      const { position, eta_ms } = progress;
      return { type: 'queued', data: { job_id: job, stage, position, eta_ms } };
    }
  }
}
