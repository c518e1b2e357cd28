/** How long a job waits that comes now. Pure. */
import type { DeskState } from './desk-state.ts';
import type { AccountWaiting } from './line.ts';
import { paceAt } from './pace.ts';

/** A stage under way at a server, and what its job has to do after it. */
export interface UnderWay {
  readonly account: string;
  /** work of the stage that is left, and of all stages behind it, TFLOPs */
  readonly leftTflops: number;
  readonly laterTflops: number;
}

/** All that a job may have to wait for. */
export interface Before {
  readonly account: string;
  /** work of the job itself that waits already, TFLOPs */
  readonly itself: number;
  readonly underWay: readonly UnderWay[];
  readonly waiting: Iterable<AccountWaiting>;
  /** jobs that have been let in and did not come yet */
  readonly coming: Iterable<{ readonly account: string; readonly tflops: number }>;
  /** stages that can be under way at once */
  readonly slots: number;
}

/**
 * Work that goes out before a job of `account` that comes now, TFLOPs. All that its account has waiting goes before it,
 * and of every other account as much as of its own, but one stage at least: the line is fair by account. What is under
 * way is finished first. 0 where nobody waits and a slot is free.
 */
export function workBefore({ account, itself, underWay, waiting, coming, slots }: Before): number {
  const accounts = new Map<string, { rest: number; first: number }>();
  const add = (tag: string, rest: number, first: number): void => {
    const known = accounts.get(tag);
    if (known) known.rest += rest;
    else accounts.set(tag, { rest, first });
  };
  for (const { account: tag, restTflops, firstTflops } of waiting) add(tag, restTflops, firstTflops);
  for (const { account: tag, tflops } of coming) add(tag, tflops, tflops);
  const isAlone = accounts.size === 0 || (itself > 0 && accounts.size === 1 && accounts.get(account)?.rest === itself);
  if (isAlone && underWay.length < slots) return 0;
  for (const { account: tag, laterTflops } of underWay) if (laterTflops > 0) add(tag, laterTflops, laterTflops);
  const own = Math.max(0, (accounts.get(account)?.rest ?? 0) - itself);
  let sum = own;
  for (const [tag, { rest, first }] of accounts) if (tag !== account) sum += Math.min(rest, Math.max(first, own));
  return underWay.reduce((all, { leftTflops }) => all + leftTflops, sum);
}

/** The stages under way at a server of this pace, with the work that is left of them. */
export function underWayAt({ held, busySince }: DeskState, pace: number, now: number): readonly UnderWay[] {
  const stages = [...held.values()];
  const oldest = Math.min(now, ...stages.map(({ since }) => Math.max(since, busySince)));
  let done = pace > 0 ? (now - oldest) / pace : 0;
  return stages.map(({ account, tflops, restTflops }) => {
    const leftTflops = Math.max(0, tflops - done);
    done -= tflops - leftTflops;
    return { account, leftTflops, laterTflops: restTflops - tflops };
  });
}

/** Milliseconds that the largest stage takes that is under way at a server; 0 where nobody knows. */
export function longestStage({ held, pace }: DeskState, now: number): number {
  const known = paceAt(pace, now) ?? 0;
  return Number.isFinite(known) ? known * Math.max(0, ...[...held.values()].map(({ tflops }) => tflops)) : 0;
}
