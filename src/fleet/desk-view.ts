/** A desk as operators see it: its servers with why each is not ready, and its line by model. Pure. */
import type { DeskPlace, DeskServer, DeskState } from './desk-state.ts';
import { paceAt } from './pace.ts';
import type { LineView, ServerView } from './slots.ts';

/** A server as it stands, with the reason in words. */
export function viewServer(server: DeskServer, state: DeskState, now: number): ServerView {
  const { backend, list, fault, listedAt } = server;
  const { breaker, held, pace, stages, openings } = state;
  const [name, reason] = standing(server, state, now);
  return {
    id: backend.id,
    state: name,
    reason,
    weight: backend.weight,
    slots: backend.slots,
    held: held.size,
    ms_per_tflop: paceAt(pace, now),
    outstanding_tflops: [...held.values()].reduce((sum, { tflops }) => sum + tflops, 0),
    probe_at: breaker.probeAt,
    models: list?.models.map(({ id, digest }) => ({ id, digest })) ?? [],
    said_at: listedAt,
    said_fault: fault,
    cold_start_seconds: backend.cold_start_seconds,
    stages: { ...stages },
    openings,
  };
}

function standing(
  { backend, list, fault: notAsked }: DeskServer,
  { breaker, held, fault, fullUntil }: DeskState,
  now: number,
): readonly [ServerView['state'], string | null] {
  const why = fault ?? notAsked ?? 'a stage that it was given did not come back';
  if (breaker.state === 'half_open') return ['probing', why];
  if (breaker.state === 'open') return ['out', why];
  if (!list) return ['unknown', `nothing is known of its models: ${notAsked ?? fault ?? 'it was not asked yet'}`];
  if (backend.weight === 0)
    return ['draining', held.size === 0 ? 'its weight is 0' : `its weight is 0; ${held.size} stages still run there`];
  if (fullUntil > now) return ['full', `it takes nothing for ${fullUntil - now} ms`];
  if (held.size >= backend.slots) return ['full', `all its ${backend.slots} slots are held`];
  return ['ready', fault === null ? null : `its last stage came to nothing: ${fault}`];
}

/** What waits, by model; `waitFor` says how long a group would wait that comes now. */
export function viewLines(
  places: readonly DeskPlace[],
  waitFor: (group: string) => number | null,
  now: number,
): readonly LineView[] {
  const byModel = Map.groupBy(places, ({ request }) => request.needs.model);
  return [...byModel].map(([model, waiting]) => {
    const waits = [...new Set(waiting.map(({ group }) => group))].map(waitFor);
    return {
      model,
      waiting: waiting.length,
      waiting_tflops: waiting.reduce((sum, { restTflops }) => sum + restTflops, 0),
      accounts: new Set(waiting.map(({ account }) => account)).size,
      oldest_ms: waiting.reduce((most, { since }) => Math.max(most, now - since), 0),
      expected_wait_ms: waits.reduce((most, wait) => (most === null || wait === null ? null : Math.max(most, wait))),
    };
  });
}
