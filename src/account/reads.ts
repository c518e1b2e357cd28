/**
 * What a key may look at in a minute: questions that start no work and still cost time. A quote fits a schedule, a page
 * of a list asks many objects, a picture file is taken apart, a poll asks one object, a share is written down for good.
 * Bounded, for one isolate: another counts for itself. Pure but for its tables.
 */
import { type Doubts, makeDoubts } from './doubts.ts';
import type { Rate } from './rate.ts';

export type ReadKind = 'quotes' | 'lists' | 'files' | 'polls' | 'shares';

const PER_MINUTE: Readonly<Record<ReadKind, number>> = {
  quotes: 120,
  lists: 300,
  files: 120,
  polls: 6000,
  shares: 60,
};

export interface Reads {
  /** Takes one; null where the key may, or its limit a minute and the milliseconds until it may. */
  take(kind: ReadKind, key: string, now: number): { readonly limit: number; readonly retryMs: number } | null;
}

export function makeReads(perMinute: Readonly<Record<ReadKind, number>> = PER_MINUTE): Reads {
  const rateOf = (kind: ReadKind): Rate => ({ limit: perMinute[kind], windowMs: 60_000 });
  const tables: Readonly<Record<ReadKind, Pick<Doubts, 'take'>>> = {
    quotes: makeDoubts(rateOf('quotes')),
    lists: makeDoubts(rateOf('lists')),
    files: makeDoubts(rateOf('files')),
    polls: makeDoubts(rateOf('polls')),
    shares: makeDoubts(rateOf('shares')),
  };
  return {
    take(kind, key, now) {
      const retryMs = tables[kind].take(key, now);
      return retryMs === null ? null : { limit: perMinute[kind], retryMs };
    },
  };
}
