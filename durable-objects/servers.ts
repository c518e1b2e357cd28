/** The stage servers as one job's object sees them: who takes its next request, and who took its last ones. */
import { type Candidate, choose } from '../src/fleet/choose.ts';
import { type Fleet, type FleetEnv, openFleet } from '../src/fleet/fleet.ts';
import type { JobRecord } from '../src/job/job.ts';
import { logLine } from '../src/job/log.ts';
import { needsOf } from '../src/job/plan.ts';
import { boundEngine } from '../src/job/story.ts';
import type { StageServer } from '../src/stage/client.ts';
import { readAttempts } from './attempts.ts';
import { readUsage } from './job-tables.ts';

export interface Servers {
  /** The best server for the job's next request, and what it may be sent; null where there is nobody to ask now. */
  choose(row: JobRecord): Promise<(Candidate & { readonly server: StageServer }) | null>;
  /** The server of a backend; null where none of that id is configured. */
  byId(id: string): StageServer | null;
}

export function makeServers(env: () => FleetEnv, sql: SqlStorage): Servers {
  let fleet: Fleet | null = null;

  /** The fleet; null, and a log line, where its configuration is wrong: nobody can be asked until it is right. */
  function open(): Fleet | null {
    try {
      fleet ??= openFleet(env(), caches.default, () => Date.now());
      return fleet;
    } catch (error) {
      logLine('bad_configuration', { error: error instanceof Error ? error.message : String(error) });
      return null;
    }
  }

  return {
    async choose(row) {
      const opened = open();
      if (!opened) return null;
      const last = readAttempts(sql).at(-1);
      const { candidates, unfit } = choose({
        servers: await opened.servers(),
        needs: needsOf(row.plan),
        engine: boundEngine(row.request, readUsage(sql)),
        last: last ? { backend: last.backend, hasFailed: last.outcome === 'failed' } : null,
      });
      const [best] = candidates;
      const server = best && opened.server(best.id);
      if (best && server) return { ...best, server };
      logLine('no_server', { job_id: row.id, unfit: JSON.stringify(unfit) });
      return null;
    },
    byId: (id) => open()?.server(id) ?? null,
  };
}
