/**
 * Jobs that no server could take when they asked. They stand in no line and look more and more seldom: once a server
 * says that it has what they need, each is called to ask again.
 */
import type { OfGroup } from './line.ts';

export interface Hopeful {
  /** A job that needs what `group` needs was told that nobody has it. */
  waits(job: string, group: string, now: number): void;
  /** It has asked again, or waits no longer. */
  leave(job: string): void;
  /** What they need, each once; who has not asked for long is forgotten. */
  groups(now: number): readonly string[];
  /** Those whose group is served by now: they are called, and hope no more until they have asked. */
  take(isServed: OfGroup): readonly string[];
}

/** Most jobs; the one that asked longest ago is forgotten first, and looks by itself. */
const MAX_JOBS = 20_000;
/** Who has not asked for so long has ended: a job that waits looks every ten minutes at least. */
const FORGOTTEN_MS = 660_000;

export function makeHopeful(maxJobs = MAX_JOBS): Hopeful {
  /** who asked longest ago first */
  const jobs = new Map<string, { readonly group: string; readonly at: number }>();
  const byGroup = new Map<string, Set<string>>();

  function leave(job: string): void {
    const known = jobs.get(job);
    if (!known) return;
    jobs.delete(job);
    const others = byGroup.get(known.group);
    others?.delete(job);
    if (others?.size === 0) byGroup.delete(known.group);
  }

  return {
    waits(job, group, now) {
      leave(job);
      jobs.set(job, { group, at: now });
      byGroup.set(group, (byGroup.get(group) ?? new Set()).add(job));
      if (jobs.size > maxJobs) leave(jobs.keys().next().value as string);
    },
    leave,
    groups(now) {
      for (const [job, { at }] of jobs) {
        if (Math.abs(now - at) < FORGOTTEN_MS) break;
        leave(job);
      }
      return [...byGroup.keys()];
    },
    take(isServed) {
      const served = [...byGroup].filter(([group]) => isServed(group)).flatMap(([, waiting]) => [...waiting]);
      for (const job of served) leave(job);
      return served;
    },
  };
}
