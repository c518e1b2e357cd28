/** What is asked of a desk, and what of it is saved. */
import type { SavedBreaker } from './breaker.ts';
import type { DeskServer } from './desk-state.ts';
import type { HeldSlots } from './held-back.ts';
import type { Pace } from './pace.ts';
import type { Admission, AdmissionRequest, DispatcherView, Released, Slot, SlotAnswer, SlotRequest } from './slots.ts';

/** A job whose turn has come. */
export interface Turn {
  readonly job: string;
  readonly slot: Slot;
}

export type SavedServers = readonly (readonly [
  id: string,
  breaker: SavedBreaker,
  pace: Pace | null,
  fault: string | null,
])[];

/** What outlives the desk: how well the servers do, and who waits. */
export interface SavedDesk {
  readonly servers: SavedServers;
  readonly line: readonly SlotRequest[];
  /** slots that were held; one of an earlier version leaves it out */
  readonly held?: HeldSlots;
}

export interface Desk {
  /** Puts the job where it belongs. A job that holds a slot gets that one again. */
  ask(request: SlotRequest, servers: readonly DeskServer[], now: number): Promise<SlotAnswer>;
  /**
   * The job of a request is alive in its slot; one that a desk before this gave it is its own again. False where the
   * slot has ended.
   */
  renew(request: SlotRequest, slot: Slot, now: number): boolean;
  /** The slot is free; what came of it counts when the promise resolves. */
  release(job: string, released: Released, now: number): Promise<void>;
  /** The job waits no longer, and holds no slot. */
  leave(job: string): void;
  admit(request: AdmissionRequest, servers: readonly DeskServer[], now: number): Admission;
  /** Gives out what slots are free, to those whose turn it is. Each is to be called. */
  turns(servers: readonly DeskServer[], now: number): readonly Turn[];
  /**
   * Jobs that are to be called to ask again, once, seen at the last turns: those in line whose servers have all gone
   * out, and those that no server could take and one can by now.
   */
  toCall(): readonly string[];
  /** Servers that have not what some job waits for, and may have it: they are to be asked for their lists again. */
  hopes(servers: readonly DeskServer[], now: number): readonly string[];
  /** When something is due for who waits although nobody asks: a server may be probed, or is free. Null: never. */
  dueAt(servers: readonly DeskServer[], now: number): number | null;
  /** When a slot would be free whose job was heard of no more; null: nobody waits for one. */
  leaseEndsAt(): number | null;
  /** Jobs in the line, and those that have come into it so far. */
  readonly size: number;
  readonly arrivals: number;
  /** Stages that told something of their server so far. */
  readonly outcomes: number;
  view(servers: readonly DeskServer[], now: number): DispatcherView;
  /** The work that waits for each model, TFLOPs. Where a model is not in it nothing does. */
  waiting(): ReadonlyMap<string, number>;
  /** The servers that are out or being probed, each with what it was at fault for. */
  outs(): ReadonlyMap<string, string>;
  save(): SavedDesk;
  /** The part of it that is not the line. */
  saveServers(): SavedServers;
}
