/** What the configuration gives the Worker; names as in wrangler.toml. */
import type { Context } from 'hono';
import type { DemandEnv } from '../../durable-objects/dispatcher/tell-demand.ts';
import type { JobEnv } from '../../durable-objects/job/parts.ts';
import type { Actor } from '../account/account.ts';
import type { Doubts } from '../account/doubts.ts';
import type { Jurisdiction } from '../account/place.ts';
import type { Reads } from '../account/reads.ts';
import type { Standings } from '../account/standing.ts';
import type { Suspensions } from '../account/suspensions.ts';
import type { FleetMemory } from '../fleet/said.ts';
import type { DirectoryCalls, DispatcherCalls, JobCalls, Objects } from '../job/rpc.ts';
import type { Problem } from './problem.ts';

export interface Env extends JobEnv, DemandEnv {
  readonly DISPATCHERS: Objects<DispatcherCalls>;
  readonly JOBS: Objects<JobCalls>;
  readonly DIRECTORY: Objects<DirectoryCalls>;
  /** names, with commas between them, under which the first model also goes: tools often have OpenAI's built in */
  readonly MODEL_ALIASES: string;
  /** where its stage servers stand, as JSON (src/fleet/regions.ts); empty: it names no regions */
  readonly REGIONS?: string;
  /**
   * `aliases`, as when absent: a model that is named by an alias makes any size, from the nearest that it has. `off`:
   * every picture has a size that its model makes
   */
  readonly ENLARGE?: string;
  /** `on`, as when absent: finished pictures say what they were made from, unless a request says otherwise. `off` */
  readonly METADATA?: string;
  /** `true`: the stages of a job may run on different engine classes unless its request says otherwise */
  readonly ALLOW_ENGINE_CHANGE: string;
  /** what work costs, as JSON (src/billing/tariff.ts); empty: nothing is charged */
  readonly TARIFF: string;
  /** of the service that judges prompts; empty: none does */
  readonly MODERATION_URL: string;
  /** secret: its bearer token, where it wants one */
  readonly MODERATION_TOKEN?: string;
  /** a date: keys, job ids and links of the first form are taken until its end; empty: they are not */
  readonly OLD_KEYS_UNTIL: string;
  /** secret: what Stripe signs its webhooks to this service with; without it none is taken */
  readonly STRIPE_WEBHOOK_SECRET?: string;
  /** secret: the bearer token that opens the metrics of the fleet; without it the admin key alone does */
  readonly METRICS_TOKEN?: string;
  /** secret: the bearer key that opens accounts and rules them */
  readonly ADMIN_KEY: string;
}

/** Whose key a request came with, and what that may do. */
export interface Caller {
  readonly account: string;
  readonly keyId: string;
  /** where the objects and pictures of its jobs have to stay; null: anywhere */
  readonly jurisdiction: Jurisdiction | null;
  /** what may be kept of the key: its account compares it when jobs are started */
  readonly keyHashes: readonly string[];
}

/** What an isolate remembers: of who came, and of what stage servers say of themselves. */
export interface Gate {
  readonly standings: Standings;
  readonly doubts: Doubts;
  readonly reads: Reads;
  readonly suspensions: Suspensions;
  readonly fleet: FleetMemory;
}

/** Hono's view of a request. */
export interface AppEnv {
  Bindings: Env;
  Variables: {
    requestId: string;
    gate: Gate;
    caller: Caller;
    /** whether the account has said, to this isolate or to this request, that the caller's key opens */
    isKeyJudged: boolean;
    /** the key that the request came with, where its door has a place of its own for it */
    readKey: ((c: Context<AppEnv>) => string | undefined) | undefined;
    /** who acts, for the audit trail; set where a key or the admin was let in */
    actor: Actor;
    /** the request named a job by an id of the first form */
    hasOldJobId: boolean;
    render: ((problem: Problem) => Response) | undefined;
  };
}
