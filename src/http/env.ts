/** What the configuration gives the Worker; names as in wrangler.toml. */
import type { JobEnv } from '../../durable-objects/job.ts';
import type { JobCalls, Objects } from '../job/rpc.ts';
import type { Problem } from './problem.ts';

export interface Env extends JobEnv {
  readonly JOBS: Objects<JobCalls>;
  /** names, with commas between them, under which the first model also goes: tools often have OpenAI's built in */
  readonly MODEL_ALIASES: string;
  /** `true`: the stages of a job may run on different engine classes unless its request says otherwise */
  readonly ALLOW_ENGINE_CHANGE: string;
  /** of the service that judges prompts; empty: none does */
  readonly MODERATION_URL: string;
  /** secret: its bearer token, where it wants one */
  readonly MODERATION_TOKEN?: string;
  /**
   * address under which callers reach the service, with the path before `/v1` where there is one; empty: the one that
   * each request came to
   */
  readonly PUBLIC_URL: string;
  /** secret: what keys and links are signed with */
  readonly SIGNING_SECRET: string;
  /** secret: the bearer key that opens accounts */
  readonly ADMIN_KEY: string;
}

/** Whose key a request came with. */
export interface Caller {
  readonly account: string;
  readonly keyId: string;
}

/** Hono's view of a request. */
export interface AppEnv {
  Bindings: Env;
  Variables: { requestId: string; caller: Caller; render: ((problem: Problem) => Response) | undefined };
}
