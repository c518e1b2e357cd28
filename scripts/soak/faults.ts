/** What may go wrong on the way to a far side, drawn by chance. */
import type { Random } from './random.ts';

/**
 * `lost`: it fails before it has an effect. `answer_lost`: it has its effect, and the caller hears that it failed.
 * `kills_caller`: it goes out, and whoever sent it is gone. `kills_callee`: the object is killed before it is asked.
 * `kills_callee_after`: its rows are stored, and it is killed before its answer is out. `late`: it takes minutes.
 */
export const FATES = ['lost', 'answer_lost', 'kills_caller', 'kills_callee', 'kills_callee_after', 'late'] as const;
export type Fate = (typeof FATES)[number] | 'well';

export interface Faults {
  /** What becomes of a message. */
  fate(): Fate;
  /** Milliseconds that a message takes. */
  latency(fate: Fate): number;
  /** Whether an object is killed at the end of a turn, before what it wrote is stored. */
  killsBeforeCommit(): boolean;
  /** Whether the platform says that asking again helps. */
  isRetryable(): boolean;
  /** How long a message takes that comes late: beyond every limit of whoever waits. */
  lateness(): number;
  /** From now on something goes wrong; before that nothing does. */
  begin(): void;
  /** Nothing goes wrong any more. */
  heal(): void;
  /** From now on nothing takes long either. */
  calm(): void;
  /** how often something was killed */
  kills: number;
}

/** Faults of this rate: the share of messages with which something goes wrong. */
export function makeFaults(random: Random, rate: number): Faults {
  let now = 0;
  let isCalm = false;
  return {
    kills: 0,
    fate: () => (now > 0 && random.chance(now) ? random.pick(FATES) : 'well'),
    latency(fate) {
      if (fate === 'late') return random.between(5_000, 400_000);
      return !isCalm && random.chance(0.02) ? random.between(50, 3_000) : random.between(1, 20);
    },
    killsBeforeCommit: () => now > 0 && random.chance(now / 3),
    isRetryable: () => random.chance(0.5),
    lateness: () => random.between(61_000, 400_000),
    begin() {
      now = rate;
    },
    heal() {
      now = 0;
    },
    calm() {
      isCalm = true;
    },
  };
}
