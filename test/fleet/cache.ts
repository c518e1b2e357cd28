import type { AnswerCache } from '../../src/fleet/fleet.ts';

/** The platform's Cache in memory, with a given clock. */
export function memoryCache(clock: () => number): AnswerCache {
  const entries = new Map<string, { answer: Response; endsAt: number }>();
  return {
    async match({ url }) {
      const entry = entries.get(url);
      return entry && clock() < entry.endsAt ? entry.answer.clone() : undefined;
    },
    async put({ url }, answer) {
      const seconds = Number(/max-age=(\d+)/.exec(answer.headers.get('cache-control') ?? '')?.[1] ?? 0);
      entries.set(url, { answer, endsAt: clock() + 1000 * seconds });
    },
  };
}
