/**
 * Slots that a desk before this one had given out, as far as it was seen: kept free until those who hold them have
 * said so. Who holds a slot renews it or gives it back within seconds; what nobody speaks of by then is free.
 */

/** By then whoever holds a slot has renewed it: jobs do every ten seconds. */
const RENEWED_MS = 12_000;

/** Slots by server. */
export type HeldSlots = readonly (readonly [id: string, slots: number])[];

export interface HeldBack {
  /** Slots of a server that are kept free. */
  of(id: string, now: number): number;
  /** One of them has been spoken of: it is known again, or free. */
  spoken(id: string): void;
  /** When the last is free; null: none is kept. */
  until(now: number): number | null;
}

/** `held` as it was saved by the desk before, which ended before `begin`. */
export function makeHeldBack(held: HeldSlots, begin: number): HeldBack {
  const left = new Map(held.filter(([, slots]) => slots > 0));
  const end = begin + RENEWED_MS;
  const isOver = (now: number): boolean => now >= end || now < begin;
  return {
    of: (id, now) => (isOver(now) ? 0 : (left.get(id) ?? 0)),
    spoken(id) {
      const slots = left.get(id) ?? 0;
      if (slots > 1) left.set(id, slots - 1);
      else left.delete(id);
    },
    until: (now) => (left.size === 0 || isOver(now) ? null : end),
  };
}
