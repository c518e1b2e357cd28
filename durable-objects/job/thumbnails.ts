/**
 * Small pictures of the stage that runs, for those who watch it. They are asked of its server after a step, only while
 * somebody wants them, one at a time; they are told and never stored. Nothing waits for one, and one that does not come
 * is left out.
 */
import { toBase64 } from '../../src/job/base64.ts';
import type { StageThumbnail } from '../../src/stage/thumbnail.ts';
import type { Told } from './progress.ts';

/**
 * Shortest time from one request to the next, whichever stages they are of, and the number of requests of a stage after
 * which it has doubled: a stage may run long.
 */
const GAP_MS = 250;
const SLOWER_AFTER = 40;

/** Asks the server of the stage that runs, until `signal`. Never rejects. */
export type AskThumbnail = (signal: AbortSignal) => Promise<StageThumbnail | null>;

export interface Thumbnails {
  /** A stage runs; `ask` is null where its server makes none. What was shown of the one before is over. */
  begin(stage: number, ask: AskThumbnail | null): void;
  /** A step of it is done: there is something new to see. */
  stepDone(step: number): void;
  /** Somebody has begun to watch. */
  look(): void;
  /** It runs no longer. */
  end(): void;
  /** The newest one of the stage that runs; null where there is none. */
  newest(): Told | null;
}

/** One stage as it runs. */
interface Shown {
  readonly stage: number;
  readonly ask: AskThumbnail;
  /** aborts when the stage runs no longer */
  readonly over: AbortController;
  numAsked: number;
  isAsking: boolean;
  /** the newest that is done */
  step: number;
  newest: { readonly step: number; readonly told: Told } | null;
}

/** `areWanted` says whether somebody would be shown one now. */
export function makeThumbnails({
  areWanted,
  show,
}: {
  readonly areWanted: () => boolean;
  readonly show: (thumbnail: Told) => void;
}): Thumbnails {
  let shown: Shown | null = null;
  /** when the last one was asked for, of whichever stage, and how long it is until the next may be */
  let last = { at: 0, gap: 0 };

  async function ask(now: Shown): Promise<void> {
    now.isAsking = true;
    last = { at: Date.now(), gap: GAP_MS * (1 + now.numAsked / SLOWER_AFTER) };
    now.numAsked += 1;
    const found = await now.ask(now.over.signal);
    now.isAsking = false;
    // the stage is over, or what came is no newer than what was shown
    if (shown !== now || !found || found.step <= (now.newest?.step ?? 0)) return;
    const { step, format, width, height, bytes } = found;
    const data = { stage: now.stage, step, format, width, height, b64_json: toBase64(bytes) };
    const told: Told = { event: { type: 'thumbnail', data }, at: Date.now() };
    now.newest = { step, told };
    show(told);
  }

  function maybeAsk(): void {
    if (!shown || shown.isAsking || shown.step <= (shown.newest?.step ?? 0)) return;
    // a clock that has stepped back begins the wait anew
    const since = Date.now() - last.at;
    if ((since >= 0 && since < last.gap) || !areWanted()) return;
    void ask(shown);
  }

  function end(): void {
    shown?.over.abort();
    shown = null;
  }

  return {
    begin(stage, asked) {
      end();
      const unasked = { numAsked: 0, isAsking: false, step: 0, newest: null };
      shown = asked && { stage, ask: asked, over: new AbortController(), ...unasked };
    },
    stepDone(step) {
      if (shown) shown.step = step;
      maybeAsk();
    },
    look: maybeAsk,
    end,
    newest: () => shown?.newest?.told ?? null,
  };
}
