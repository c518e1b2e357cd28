/** How long who comes now would wait at a desk, from what waits, what is under way, and how fast its servers are. */
import type { DeskPlace, DeskServer, DeskState } from './desk-state.ts';
import { competing, type Fits } from './groups.ts';
import type { Line } from './line.ts';
import { paceAt } from './pace.ts';
import { longestStage, underWayAt, workBefore } from './wait.ts';

/** A job that was let in and did not come yet. */
export interface Coming {
  readonly account: string;
  readonly group: string;
  readonly tflops: number;
  readonly at: number;
}

/** A job that comes now; `itself` is what of it waits already, TFLOPs. */
export interface Comer {
  readonly account: string;
  readonly group: string;
  readonly itself?: number;
}

export interface Estimate {
  /**
   * Milliseconds until a job that comes now would begin; null where no pace is known. `may` are the servers that may
   * take it: where none of them is up, the least time that one takes to come up is in it.
   */
  waitFor(comer: Comer, may: readonly DeskServer[], fits: Fits, now: number): number | null;
  /** TFLOPs a millisecond that the servers of a group do together; null where no pace is known. */
  rateOf(group: string, fits: Fits, now: number): number | null;
  /** Milliseconds by which a wait may get shorter at once: by whole stages, one of each account. */
  stepMs(may: readonly DeskServer[], now: number): number;
}

/** What the desk knows, as it stands at each question. */
export interface Known {
  readonly states: ReadonlyMap<string, DeskState>;
  readonly stateOf: (id: string) => DeskState;
  readonly isUp: (state: DeskState, now: number) => boolean;
  readonly line: Pick<Line<DeskPlace>, 'waitingIn'>;
  readonly admitted: ReadonlyMap<string, Coming>;
}

export function makeEstimate({ states, stateOf, isUp, line, admitted }: Known): Estimate {
  const rated = (group: string, fits: Fits) => fits(group).filter(({ backend }) => backend.weight > 0);

  /** The rate of a group, and the pace of each of its servers. */
  function pacesOf(group: string, fits: Fits, now: number) {
    const all = rated(group, fits);
    const up = all.filter(({ backend }) => isUp(stateOf(backend.id), now));
    const working = (up.length > 0 ? up : all).map(({ backend }) => stateOf(backend.id));
    const known = working.flatMap(({ pace }) => (pace && pace.tflops > 0 ? [pace.ms / pace.tflops] : []));
    if (known.length === 0) return null;
    const usual = Math.min(...known);
    const paceOf = ({ pace }: DeskState): number => paceAt(pace, now) ?? usual;
    const rate = working.reduce((sum, state) => sum + 1 / paceOf(state), 0);
    return rate === 0 ? null : { rate, paceOf };
  }

  /** The wait without cold starts. */
  function workMsBefore({ account, group, itself = 0 }: Comer, fits: Fits, now: number): number | null {
    const all = rated(group, fits);
    const paces = pacesOf(group, fits, now);
    if (!paces) return null;
    const { rate, paceOf } = paces;
    const competes = competing(group, fits);
    const tflops = workBefore({
      account,
      itself,
      underWay: all.flatMap(({ backend }) => underWayAt(stateOf(backend.id), paceOf(stateOf(backend.id)), now)),
      waiting: line.waitingIn(competes),
      coming: [...admitted.values()].filter((job) => competes(job.group)),
      slots: all.reduce((sum, { backend }) => sum + backend.slots, 0),
    });
    return tflops / rate;
  }

  return {
    waitFor(comer, may, fits, now) {
      const isAnyUp = may.some((server) => server.list && isUp(stateOf(server.backend.id), now));
      const coldMs = isAnyUp ? 0 : leastColdStart(may);
      const workMs = workMsBefore(comer, fits, now);
      return workMs === null ? coldMs || null : coldMs + workMs;
    },
    rateOf: (group, fits, now) => pacesOf(group, fits, now)?.rate ?? null,
    stepMs(may, now) {
      const stageMs = Math.max(0, ...may.map(({ backend }) => longestStage(stateOf(backend.id), now)));
      // accounts that wait, hold slots or are about to come
      const accounts = new Set([
        ...[...line.waitingIn(() => true)].map(({ account }) => account),
        ...[...states.values()].flatMap(({ held }) => [...held.values()].map(({ account }) => account)),
        ...[...admitted.values()].map(({ account }) => account),
      ]);
      return stageMs * accounts.size;
    },
  };
}

/** The least time that one of these takes to come up; 0 where none says. */
function leastColdStart(servers: readonly DeskServer[]): number {
  const seconds = servers.flatMap(({ backend }) => backend.cold_start_seconds ?? []);
  return seconds.length === 0 ? 0 : Math.min(...seconds) * 1000;
}
