/**
 * What a watcher of a job sees, in order: one type a line of the story. On the wire: `id: seq`, `event: type`, `data:
 * JSON`.
 */
import type { CostView } from '../billing/charge.ts';
import type { Receipt } from '../billing/receipt.ts';
import type { Fault } from './failures.ts';
import type { ImageView, JobFailure, PlanView } from './job.ts';

/** A picture small enough to travel inside an event. */
export interface Picture {
  readonly format: 'png' | 'webp' | 'jpeg';
  readonly width: number;
  readonly height: number;
  readonly b64_json: string;
}

export type JobEvent =
  /** the job exists (`stage` null), or its stage waits in a server's queue; `position` null where it is not known */
  | {
      readonly type: 'queued';
      readonly data: {
        readonly job_id: string;
        readonly stage: number | null;
        readonly position: number | null;
        readonly eta_ms: number | null;
      };
    }
  | {
      readonly type: 'plan';
      readonly data: PlanView & {
        readonly model: string;
        readonly seed: number;
        readonly width: number;
        readonly height: number;
        /** with the most that the job costs; null where nothing is charged */
        readonly cost: CostView | null;
      };
    }
  /** a stage request goes out; `attempt` is 1 unless an earlier one failed or was cut off */
  | {
      readonly type: 'stage';
      readonly data: {
        readonly stage: number;
        readonly stages: number;
        readonly tokens: number;
        readonly steps: number;
        readonly attempt: number;
      };
    }
  | {
      readonly type: 'step';
      readonly data: {
        readonly stage: number;
        readonly step: number;
        readonly steps: number;
        readonly sigma: number;
        readonly ms: number;
      };
    }
  /** an attempt failed and the stage will be tried again */
  | {
      readonly type: 'retry';
      readonly data: {
        readonly stage: number;
        readonly attempt: number;
        readonly reason: Fault['reason'];
        readonly wait_ms: number;
      };
    }
  /** the clean estimate at the end of a stage that is not the last */
  | { readonly type: 'preview'; readonly data: { readonly stage: number } & Picture }
  | {
      readonly type: 'selection';
      readonly data: {
        /** low-resolution grid, and the chosen tokens of the first boundary, ascending row-major indices */
        readonly rows: number;
        readonly cols: number;
        readonly indices: readonly number[];
        /** null, as `edges`, where the latents told the tokens and no picture was searched */
        readonly edge_pixels: number | null;
        readonly ms: number;
        /**
         * white edge pixels on transparent ground; selected blocks tinted on transparent ground: both lie exactly over
         * the stage-1 picture
         */
        readonly edges: Picture | null;
        readonly blocks: Picture;
      };
    }
  | {
      readonly type: 'done';
      readonly data: {
        readonly job_id: string;
        readonly image: ImageView;
        readonly receipt: Receipt;
        readonly cost: CostView | null;
      };
    }
  | {
      readonly type: 'failed';
      readonly data: { readonly job_id: string; readonly cost: CostView | null } & JobFailure;
    }
  | {
      readonly type: 'cancelled';
      readonly data: { readonly job_id: string; readonly room: string; readonly cost: CostView | null };
    };

export type JobEventType = JobEvent['type'];

/**
 * A rough picture of what a running stage makes of its newest step: told to those who watch, and never stored. It comes
 * where the stage server can make one, a few times a second at most; `step` is the one that it shows.
 */
export interface Thumbnail {
  readonly type: 'thumbnail';
  readonly data: { readonly stage: number; readonly step: number } & Picture;
}

/** What those who watch are told: what is stored as well, and thumbnails. */
export type ToldEvent = JobEvent | Thumbnail;

/** The event of an object's table: what happened, its place in the order, and when (milliseconds since 1970). */
export type StoredEvent = JobEvent & { readonly seq: number; readonly at: number };

/** Types after which no event follows. */
export const isLastEvent = (type: ToldEvent['type']): boolean =>
  type === 'done' || type === 'failed' || type === 'cancelled';

/** An event as a watcher sees it: what is told but not stored has no place in the order, `seq` null. */
export type SeenEvent = ToldEvent & { readonly seq: number | null; readonly at: number };

/** One for those who follow a job without looking: every event but thumbnails. */
export type FollowedEvent = JobEvent & { readonly seq: number | null; readonly at: number };

const ENCODER = new TextEncoder();

/**
 * One event as server-sent-event bytes; without an `id` where it has no place. JSON holds no raw line break, so one
 * `data:` line is enough.
 */
export const encodeEvent = ({ seq, type, data, at }: SeenEvent): Uint8Array =>
  ENCODER.encode(`${seq === null ? '' : `id: ${seq}\n`}event: ${type}\ndata: ${JSON.stringify({ ...data, at })}\n\n`);

/** The events in bytes that `encodeEvent` made, one or more of them one after the other. */
export const decodeEvents = (bytes: Uint8Array): readonly SeenEvent[] =>
  new TextDecoder()
    .decode(bytes)
    .split('\n\n')
    .slice(0, -1)
    .map((block) => {
      const [, id, type, json] = /^(?:id: (\d+)\n)?event: (\w+)\ndata: (.*)$/s.exec(block) ?? [];
      const { at, ...data } = JSON.parse(json ?? '') as { at: number };
      return { type, data, at, seq: id === undefined ? null : Number(id) } as unknown as SeenEvent;
    });

/**
 * A comment line: keeps proxies from closing an idle stream, ignored by every client. Fresh bytes each time, since a
 * byte stream takes its chunks away.
 */
export const heartbeat = (): Uint8Array => new TextEncoder().encode(': keep-alive\n\n');
