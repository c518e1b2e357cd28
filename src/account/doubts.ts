/**
 * Tries that only turn out afterwards to be good, counted by the address they come from: guesses of keys and of links,
 * and ids and keys of the old form, which anybody can invent. Each takes one of an address's tries of a minute; a good
 * one gives it back. Bounded, for one isolate: a first line, which another isolate does not know of and which an
 * attacker with very many addresses gets around. Pure but for its table.
 */
import { giveBack, type Rate, takeRequests } from './rate.ts';

export interface Doubts {
  /** Takes a try of the address; null where it has one, or the milliseconds until it has. */
  take(address: string, now: number): number | null;
  /** The try was good. */
  giveBack(address: string, now: number): void;
}

/** Bad tries that an address may make in a minute. */
export const BAD_TRIES: Rate = { limit: 30, windowMs: 60_000 };
/** Addresses remembered at once; the one that tried longest ago goes first. */
const MAX_ADDRESSES = 10_000;

export function makeDoubts(rate: Rate = BAD_TRIES, maxAddresses = MAX_ADDRESSES): Doubts {
  const arrivals = new Map<string, number>();
  const keep = (address: string, arrival: number): void => {
    arrivals.delete(address);
    arrivals.set(address, arrival);
    if (arrivals.size > maxAddresses) arrivals.delete(arrivals.keys().next().value as string);
  };
  return {
    take(address, now) {
      const taken = takeRequests(rate, arrivals.get(address) ?? 0, now, 1);
      if (!taken.ok) return taken.retryMs;
      keep(address, taken.arrival);
      return null;
    },
    giveBack(address, now) {
      const arrival = arrivals.get(address);
      if (arrival === undefined) return;
      const before = giveBack(rate, arrival, 1);
      if (before > now * 1000) keep(address, before);
      else arrivals.delete(address);
    },
  };
}

/**
 * What of a caller's address counts as one sender: an IPv4 address, or the /64 of an IPv6 one, which is one customer's.
 */
export function senderOf(address: string): string {
  if (!address.includes(':')) return address;
  const [left = '', right] = address.toLowerCase().split('::') as [string, string?];
  const head = left === '' ? [] : left.split(':');
  const tail = right ? right.split(':') : [];
  const zeros = right === undefined ? 0 : Math.max(0, 8 - head.length - tail.length);
  const groups = [...head, ...Array.from({ length: zeros }, () => '0'), ...tail];
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`;
}
