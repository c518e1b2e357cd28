/** What a desk knows: its servers, who holds their slots, and who waits. */
import type { Backend } from './backends.ts';
import type { Breaker } from './breaker.ts';
import type { Place } from './line.ts';
import type { KnownServer } from './models.ts';
import type { Pace } from './pace.ts';
import type { Slot, SlotOutcome, SlotRequest } from './slots.ts';

/** A stage server of the desk, as the configuration has it and as it says of itself. */
export interface DeskServer extends KnownServer {
  readonly backend: KnownServer['backend'] & Pick<Backend, 'weight' | 'slots' | 'cold_start_seconds'>;
  /** when it last said which models it has, milliseconds since 1970; null: never */
  readonly listedAt: number | null;
}

/** A slot that a job has. */
export interface Held {
  readonly job: string;
  readonly account: string;
  /** of its server; empty where that is not known */
  readonly kind: string;
  readonly lease: number;
  readonly tflops: number;
  readonly restTflops: number;
  readonly since: number;
  renewedAt: number;
  readonly settle: ReturnType<Breaker['begin']>;
  readonly slot: Slot;
}

/** What the desk knows of a server. */
export interface DeskState {
  readonly breaker: Breaker;
  readonly held: Map<string, Held>;
  pace: Pace | null;
  given: number;
  /** it said that it takes nothing until then */
  fullUntil: number;
  /** how often it said so, with nothing done since */
  refusals: number;
  /** since when the time counts that its next outcome took */
  busySince: number;
  /** what it was at fault for last */
  fault: string | null;
  /** the job it was at fault for last, with nothing done since */
  faultJob: string | null;
  readonly stages: Record<SlotOutcome['kind'], number>;
  openings: number;
}

/** A place of the desk's line. */
export type DeskPlace = Place & { readonly request: SlotRequest };

/** A server of which nothing is known yet. */
export const newServer = (breaker: Breaker): DeskState => ({
  breaker,
  held: new Map(),
  pace: null,
  given: 0,
  fullUntil: 0,
  refusals: 0,
  busySince: 0,
  fault: null,
  faultJob: null,
  stages: { done: 0, busy: 0, wrong: 0, dropped: 0 },
  openings: 0,
});
