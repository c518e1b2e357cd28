/** What a running stage says of itself: stored and shown in small groups, because a small model steps every few ms. */
import type { JobEvent } from '../src/job/events.ts';
import type { StageProgress } from '../src/stage/client.ts';

/** Progress is stored this often: storing each step would cost more than making it. */
const FLUSH_MS = 100;

export interface Progress {
  /** A sign of life of a stage. */
  add(job: string, stage: number, progress: StageProgress): void;
  /** Stores what was added since the last time. Comes before any other event is stored, so that the order holds. */
  flush(): void;
}

/** A buffer in front of `store`, which gets the events in order, each with when it happened; never none. */
export function makeProgress(store: (events: readonly { event: JobEvent; at: number }[]) => void): Progress {
  const waiting: { event: JobEvent; at: number }[] = [];
  let timer: ReturnType<typeof setTimeout> | null = null;
  const flush = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    const events = waiting.splice(0);
    if (events.length > 0) store(events);
  };
  return {
    add(job, stage, progress) {
      waiting.push({ event: toEvent(job, stage, progress), at: Date.now() });
      timer ??= setTimeout(flush, FLUSH_MS);
    },
    flush,
  };
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
