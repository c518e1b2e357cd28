/**
 * Work a minute: the budget of an account, and of a key that has one of its own, in the unit that costs. Counted as
 * rate.ts counts requests, by the generic cell rate algorithm. Pure.
 */
const WINDOW_US = 60_000_000;
/** Nobody waits longer for what one request took. */
const MOST_US = 86_400_000_000;
const TERA = 1e12;
/** What one image may take where the account says nothing: as much as so many plain pictures. */
const PLAIN_PICTURES = 4;

/** What an account allows of work. */
export interface WorkLimits {
  /** work that may begin in a minute; null: as much as its images a minute take by the model's plain run */
  readonly tflopsPerMinute: number | null;
  /** of one image; null: as much as four plain pictures of the model asked for */
  readonly tflopsPerImage: number | null;
  readonly stepsPerImage: number;
}

/** What a request will cost at most, before anything of it is done. */
export interface RequestWork {
  /** of all its images together, FLOPs */
  readonly flops: number;
  /** of one image made by the plain run of its model, FLOPs */
  readonly plainFlops: number;
  /** of one image */
  readonly steps: number;
}

export interface BudgetState {
  /** work a minute, and what of it may begin now, TFLOPs */
  readonly limit: number;
  readonly remaining: number;
  /** until all of it may again */
  readonly resetMs: number;
}

export type Spent =
  | { readonly ok: true; readonly cost: number; readonly arrival: number; readonly state: BudgetState }
  | { readonly ok: false; readonly retryMs: number; readonly state: BudgetState };

/**
 * FLOPs a minute of an account: as it says, or else as much as its images a minute would take by the model's plain run.
 */
export const flopsPerMinute = (
  { tflopsPerMinute, imagesPerMinute }: Pick<WorkLimits, 'tflopsPerMinute'> & { readonly imagesPerMinute: number },
  { plainFlops }: Pick<RequestWork, 'plainFlops'>,
): number => (tflopsPerMinute === null ? imagesPerMinute * plainFlops : tflopsPerMinute * TERA);

/**
 * Takes work at `now` (milliseconds) from a budget of `perMinute` FLOPs, or none of it. `arrival` is what the last call
 * that passed returned, 0 at first, and `cost` what to give back: microseconds. Laws: a refusal's `retryMs` is enough;
 * a request as large as the whole budget, or larger, passes where all of the budget is there, and is paid in full
 * before the next, but within a day.
 */
export function takeWork(perMinute: number, arrival: number, now: number, flops: number): Spent {
  const cost = flops === 0 ? 0 : Math.min(MOST_US, Math.ceil((WINDOW_US * flops) / perMinute));
  const ahead = Math.max(0, arrival - now * 1000);
  const state = (lead: number): BudgetState => ({
    limit: perMinute / TERA,
    remaining: (Math.max(0, WINDOW_US - lead) / WINDOW_US) * (perMinute / TERA),
    resetMs: Math.ceil(lead / 1000),
  });
  const over = ahead + Math.min(cost, WINDOW_US) - WINDOW_US;
  if (over > 0) return { ok: false, retryMs: Math.ceil(over / 1000), state: state(ahead) };
  return { ok: true, cost, arrival: now * 1000 + ahead + cost, state: state(ahead + cost) };
}

/** The arrival once work was done that was not asked for: taken from `perMinute` FLOPs whatever is left of them. */
export function spendWork(perMinute: number, arrival: number, now: number, flops: number): number {
  const cost = flops === 0 ? 0 : Math.min(MOST_US, Math.ceil((WINDOW_US * flops) / perMinute));
  return Math.max(arrival, now * 1000) + cost;
}

/** What one image of a request may not be: null where it may. Steps, and TFLOPs. */
export function imageOverLimit(
  { stepsPerImage, tflopsPerImage }: Pick<WorkLimits, 'stepsPerImage' | 'tflopsPerImage'>,
  { flops, plainFlops, steps }: RequestWork,
  images: number,
): { readonly what: 'steps' | 'TFLOPs'; readonly asked: number; readonly limit: number } | null {
  if (steps > stepsPerImage) return { what: 'steps', asked: steps, limit: stepsPerImage };
  const limit = tflopsPerImage === null ? PLAIN_PICTURES * plainFlops : tflopsPerImage * TERA;
  const asked = flops / images;
  return asked > limit ? { what: 'TFLOPs', asked: asked / TERA, limit: limit / TERA } : null;
}
