/**
 * Jobs in line whose servers have all gone out since they asked. Who waits where everybody is well may stand in that
 * line alone, and looks seldom: it is called once to ask again, and then waits in every line it may.
 */
import type { Line, Place } from './line.ts';

export interface Adrift {
  /** A job that waits in a group knows that all its servers are out. */
  knows(job: string, group: string): void;
  /** Those that are to be told: each once as long as the servers of its group are out. */
  of(line: Pick<Line<Place>, 'waiting' | 'all'>, isOut: (group: string) => boolean): readonly string[];
}

export function makeAdrift(): Adrift {
  /** groups whose servers are all out, with the jobs that know; null: all do */
  const out = new Map<string, Set<string> | null>();
  return {
    knows(job, group) {
      const known = out.get(group);
      if (known === undefined) out.set(group, new Set([job]));
      else known?.add(job);
    },
    of(line, isOut) {
      const waiting = new Set([...line.waiting()].map(([group]) => group));
      for (const group of out.keys()) if (!waiting.has(group) || !isOut(group)) out.delete(group);
      const news = new Map<string, ReadonlySet<string>>();
      for (const group of waiting) {
        const known = out.get(group);
        if (known === null || !isOut(group)) continue;
        news.set(group, known ?? new Set());
        out.set(group, null);
      }
      if (news.size === 0) return [];
      return [...line.all()].filter(({ job, group }) => news.get(group)?.has(job) === false).map(({ job }) => job);
    },
  };
}
