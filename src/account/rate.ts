/**
 * Requests a minute, counted without a list of them: the generic cell rate algorithm.
 *
 * Every request pushes a "theoretical arrival time" one interval (window / limit) further; it may run ahead of the
 * clock by at most the window. So a quiet key has `limit` requests at once and one more every interval. Laws: a
 * refusal's `retryMs` is exact (then it passes, a millisecond sooner it does not); over a time T never more than limit
 * · (1 + T / window) pass. Source: ITU-T I.371, annex A. Pure.
 */
export interface Rate {
  /** requests that may come at once, and in every window on average */
  readonly limit: number;
  readonly windowMs: number;
}

export interface RateState {
  readonly limit: number;
  /** whole requests that would pass now */
  readonly remaining: number;
  /** until all `limit` would pass at once again */
  readonly resetMs: number;
}

export type Taken =
  | ({ readonly ok: true } & RateState & { readonly arrival: number })
  | ({ readonly ok: false; readonly retryMs: number } & RateState);

/** Microseconds that a request pushes the arrival time further. */
const intervalOf = ({ limit, windowMs }: Rate): number => Math.floor((windowMs * 1000) / limit);

/** The arrival time once `count` requests that passed are taken back. Law: it undoes takeRequests at the same time. */
export const giveBack = (rate: Rate, arrival: number, count: number): number => arrival - count * intervalOf(rate);

/**
 * Takes `count` requests at `now` (whole milliseconds), or none. `arrival` is what the last call that passed returned,
 * 0 at first: whole microseconds, so that nothing is lost to rounding. A `count` above the limit never passes:
 * `retryMs` is infinite.
 */
export function takeRequests(rate: Rate, arrival: number, now: number, count: number): Taken {
  const { limit } = rate;
  const interval = intervalOf(rate);
  const capacity = limit * interval;
  const state = (lead: number): RateState => ({
    limit,
    remaining: Math.max(0, Math.floor((capacity - lead) / interval)),
    resetMs: Math.ceil(lead / 1000),
  });
  const ahead = Math.max(0, arrival - now * 1000);
  const lead = ahead + count * interval;
  if (count > limit) return { ok: false, retryMs: Number.POSITIVE_INFINITY, ...state(ahead) };
  if (lead > capacity) return { ok: false, retryMs: Math.ceil((lead - capacity) / 1000), ...state(ahead) };
  return { ok: true, arrival: now * 1000 + lead, ...state(lead) };
}
