/** What the configuration gives the Worker; names as in wrangler.toml. */
import type { JobEnv, JobObject } from '../../durable-objects/job.ts';

export interface Env extends JobEnv {
  readonly JOBS: DurableObjectNamespace<JobObject>;
  /** secret: the bearer key of callers */
  readonly API_KEY: string;
}

/** Hono's view of a request. */
export interface AppEnv {
  Bindings: Env;
  Variables: { requestId: string };
}
