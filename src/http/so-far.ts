/** A job under way as it stands: its newest step, and the newest picture of a stage. */
import type { Picture, SeenEvent } from '../job/events.ts';
import { decodeEvents } from '../job/events.ts';
import { joined } from '../job/watching.ts';
import type { Env } from './env.ts';
import { openEvents } from './follow.ts';

/** What is stored comes at once and in one go: how long it is waited for, and the silence after which it was all. */
const FIRST_MS = 1000;
const SILENCE_MS = 150;
/** Longest look at one job. */
const LOOK_MS = 3000;

export interface SoFar {
  /** the stage under way; null: none has begun */
  readonly stage: number | null;
  /** its steps that are done */
  readonly step: number;
  readonly picture: Picture | null;
}

/** The state after one more event. */
export function seen(so: SoFar, event: SeenEvent): SoFar {
  switch (event.type) {
    case 'stage':
      return { ...so, stage: event.data.stage, step: 0 };
    case 'step':
      return { ...so, step: event.data.step };
    case 'preview':
      return { ...so, picture: event.data };
    default:
      return so;
  }
}

/** How far a job of the account is; nothing where it cannot be watched now. */
export async function lookAt(env: Env, account: string, id: string): Promise<SoFar> {
  let so: SoFar = { stage: null, step: 0, picture: null };
  const opened = await openEvents(env, id, { owner: account, after: 0, thumbnails: false, staysOn: false });
  if (opened.kind !== 'open') return so;
  const { reader } = opened;
  try {
    let wait = FIRST_MS;
    for (const until = Date.now() + LOOK_MS; Date.now() < until; wait = SILENCE_MS) {
      const batch = await reader.next(wait);
      if (batch.kind !== 'events') return so;
      const events = decodeEvents(joined(batch.bytes));
      so = events.reduce(seen, so);
      // one that is told and not stored happens now: what was before has come
      if (events.some(({ seq }) => seq === null)) return so;
    }
    return so;
  } finally {
    reader.close();
  }
}
