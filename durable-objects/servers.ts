/** The stage servers as one job's object sees them: who takes its next request, and who took its last ones. */
import { hmacHex } from '../src/account/hmac.ts';
import { type Candidate, choose as rank } from '../src/fleet/choose.ts';
import { type Fleet, type FleetEnv, openFleet } from '../src/fleet/fleet.ts';
import type { JobRecord } from '../src/job/job.ts';
import { logLine } from '../src/job/log.ts';
import { needsOf } from '../src/job/plan.ts';
import { boundEngine, type StageRequest } from '../src/job/story.ts';
import {
  encodeStageRequest,
  type StageCall,
  type StageOutcome,
  type StageServer,
  stageId,
} from '../src/stage/client.ts';
import { optionsFor } from '../src/stage/contract.ts';
import { readAttempts, workerFor } from './attempts.ts';
import { heard } from './isolate.ts';
import { readUsage } from './job-tables.ts';

/** Hex digits of an account's tag: enough that no two accounts share one. */
const TAG_LENGTH = 32;

/** What a request may take and whom it tells. */
export type CallLimits = Pick<StageCall, 'signal' | 'timeoutMs' | 'silenceMs' | 'onProgress' | 'onWorker'>;

/** A stage request made ready for the server it goes to. */
export interface AddressedRequest {
  readonly backend: string;
  readonly stageId: string;
  readonly engineClass: string | null;
  /** Sends it and waits for its outcome. */
  send(limits: CallLimits): Promise<StageOutcome>;
}

export interface Servers {
  /**
   * The request for the server it is best sent to, with what that may be sent; null where there is nobody to ask now.
   */
  address(row: JobRecord, request: StageRequest): Promise<AddressedRequest | null>;
  /** The server of a backend; null where none of that id is configured. Throws where the configuration is wrong. */
  byId(id: string): StageServer | null;
  /** Every server that is configured. Throws where the configuration is wrong. */
  all(): readonly StageServer[];
}

/** What a deployment gives for talking to stage servers. */
export interface ServersEnv extends FleetEnv {
  /** secret: what the accounts' tags are made with, among others */
  readonly SIGNING_SECRET: string;
}

export function makeServers(env: () => ServersEnv, sql: SqlStorage, job: string): Servers {
  let fleet: Fleet | null = null;

  /** The fleet; null, and a log line, where its configuration is wrong: nobody can be asked until it is right. */
  function open(): Fleet | null {
    try {
      fleet ??= openFleet(env(), { cache: caches.default, clock: () => Date.now(), memory: heard });
      return fleet;
    } catch (error) {
      logLine('bad_configuration', { job_id: job, error: error instanceof Error ? error.message : String(error) });
      return null;
    }
  }

  function opened(): Fleet {
    const found = open();
    if (!found) throw new Error('BACKENDS cannot be read');
    return found;
  }

  /** The best server for the job's next request; null where there is nobody to ask now. */
  async function choose(row: JobRecord): Promise<(Candidate & { readonly server: StageServer }) | null> {
    const found = open();
    if (!found) return null;
    const last = readAttempts(sql).at(-1);
    const { candidates, unfit } = rank({
      servers: await found.servers(),
      needs: needsOf(row.plan),
      engine: boundEngine(row.request, readUsage(sql)),
      last: last ? { backend: last.backend, hasFailed: last.outcome === 'failed' } : null,
    });
    const [best] = candidates;
    const server = best && found.server(best.id);
    if (best && server) return { ...best, server };
    logLine('no_server', { job_id: row.id, unfit: JSON.stringify(unfit) });
    return null;
  }

  return {
    async address(row, { stage, tokens, sigmas, rgbSize, options: asked }) {
      const chosen = await choose(row);
      if (!chosen) return null;
      const tag = await hmacHex(env().SIGNING_SECRET, 'account-tag', row.account);
      const options = optionsFor({ ...asked, account_tag: tag.slice(0, TAG_LENGTH) }, chosen.features);
      const body = encodeStageRequest(options, { ...tokens, sigmas });
      const id = await stageId(row.id, stage.stage, body);
      const numTokens = tokens.scale.length;
      const numValues = tokens.latents.length / numTokens;
      const { steps, evaluations } = stage;
      const worker = workerFor(readAttempts(sql), chosen.id);
      const call = { id, body, options, numTokens, numValues, steps, evaluations, rgbSize, worker };
      return {
        backend: chosen.id,
        stageId: id,
        engineClass: chosen.engineClass,
        send: (limits) => chosen.server.run({ ...call, ...limits }),
      };
    },
    byId: (id) => opened().server(id),
    all: () => opened().all(),
  };
}
