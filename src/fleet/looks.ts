/**
 * How far a dispatcher looks through its line for one slot that is free. Those that rather wait for another server are
 * passed over, and each look is bounded; whoever is passed over must not hold up who comes behind. So stages that are
 * alike cost one look, an account has so many for each group of stages, and where a look ends before the line does the
 * next one begins behind the accounts that were passed over.
 */
import type { DeskPlace } from './desk-state.ts';

/** Most looks for one slot, and those at the stages of one account in one group. */
const MAX_LOOKS = 512;
const MAX_OF_ONE = 32;

/** One look through the line. */
export interface Look {
  /** accounts that were passed over before: they come last this time */
  readonly behind: ReadonlySet<string>;
  /** Whether to look at a place, or to pass it over, or to end here. */
  at(place: Pick<DeskPlace, 'account' | 'group'>): 'look' | 'pass' | 'end';
  /** Whether it has found a place for the slot: everybody is looked at again the next time. */
  ends(hasFound: boolean): void;
}

/** Looks at the line for servers of each kind; it remembers who was passed over. */
export function makeLooks(): { begin(kind: string): Look } {
  const passedOver = new Map<string, ReadonlySet<string>>();
  return {
    begin(kind) {
      const behind = passedOver.get(kind) ?? new Set<string>();
      const own = new Map<string, Map<string, number>>();
      let looks = 0;
      let endedAt: string | null = null;
      return {
        behind,
        at({ account, group }) {
          const ofAccount = own.get(account) ?? new Map<string, number>();
          const count = ofAccount.get(group) ?? 0;
          if (count >= MAX_OF_ONE) return 'pass';
          if (looks >= MAX_LOOKS) {
            endedAt = account;
            return 'end';
          }
          looks++;
          own.set(account, ofAccount.set(group, count + 1));
          return 'look';
        },
        ends(hasFound) {
          if (hasFound || endedAt === null) passedOver.delete(kind);
          // where it ended among those who come last, all others have been looked at
          else passedOver.set(kind, new Set([...(behind.has(endedAt) ? [] : behind), ...own.keys()]));
        },
      };
    },
  };
}
