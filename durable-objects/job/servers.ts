/** The stage servers as one job's object sees them: the way to each, and a request made ready for one. */
import { accountTag } from '../../src/account/tag.ts';
import type { Backend } from '../../src/fleet/backends.ts';
import { fitOf } from '../../src/fleet/fit.ts';
import { dispatcherName, type Fleet, type FleetEnv, openFleet } from '../../src/fleet/fleet.ts';
import type { Slot } from '../../src/fleet/slots.ts';
import type { JobRecord } from '../../src/job/job.ts';
import { logLine } from '../../src/job/log.ts';
import type { StageRequest } from '../../src/job/story.ts';
import {
  encodeStageRequest,
  type StageCall,
  type StageOutcome,
  type StageServer,
  stageId,
} from '../../src/stage/client.ts';
import { type Feature, optionsFor, plainOptions, type StageOptions } from '../../src/stage/contract.ts';
import { heard } from '../isolate.ts';
import { isPlainAt, readAttempts, workerFor } from './attempts.ts';
import type { Rows } from './rows.ts';
import type { AskThumbnail } from './thumbnails.ts';

/** What a request may take and whom it tells. */
export type CallLimits = Pick<StageCall, 'signal' | 'timeoutMs' | 'silenceMs' | 'lineMs' | 'onProgress' | 'onWorker'>;

/** A stage request made ready for the server it goes to. */
export interface AddressedRequest {
  readonly stageId: string;
  /** whether the options that change no number are left out */
  readonly isPlain: boolean;
  /** The same without those options, for a server that refuses them; null where it has none. */
  readonly plain: (() => Promise<AddressedRequest>) | null;
  /** Asks the server for a small picture of the stage once it runs; null where the server makes none. */
  readonly thumbnail: AskThumbnail | null;
  /** Sends it and waits for its outcome. */
  send(limits: CallLimits): Promise<StageOutcome>;
}

export interface Servers {
  /** The request as the slot's server takes it; null where no such server is configured any more. */
  address(row: JobRecord, request: StageRequest, slot: Slot): Promise<AddressedRequest | null>;
  /**
   * Names of the dispatchers that may have a server for a model, in the order of the job's regions; behind them those
   * where the stage came to nothing at every server.
   */
  dispatchers(regions: readonly string[], model: string, tried: readonly string[]): readonly string[];
  /**
   * A server for a stage, chosen without a dispatcher: in the order of the configuration, behind those where the stage
   * came to nothing. Null where there is nobody to ask now.
   */
  without(request: Undispatched): Promise<Slot | null>;
  /** Whether a server that is none of these is configured for a model in the regions. */
  hasOther(ids: readonly string[], model: string, regions: readonly string[]): boolean;
  /** Whether two backends lead to the same server. */
  areOne(one: string, other: string): boolean;
  /** Whether a server of this id is configured. */
  isThere(id: string): boolean;
  /** The account as stage servers and dispatchers know it: not who it is. */
  tagOf(account: string): Promise<string>;
  /** The server of a backend; null where none of that id is configured. Throws where the configuration is wrong. */
  byId(id: string): StageServer | null;
  /** Every server that is configured. Throws where the configuration is wrong. */
  all(): readonly StageServer[];
}

/** A stage that goes out although no dispatcher answers. */
export interface Undispatched {
  readonly needs: Parameters<typeof fitOf>[1];
  readonly engine: string | null;
  readonly last: string | null;
  readonly tried: readonly string[];
  readonly regions: readonly string[];
}

/** What a deployment gives for talking to stage servers. */
export interface ServersEnv extends FleetEnv {
  /** secret: what the accounts' tags are made with, among others */
  readonly SIGNING_SECRET: string;
}

export function makeServers(env: () => ServersEnv, rows: Rows, job: string): Servers {
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

  /**
   * Asks for thumbnails of a stage, of the worker that the answer to its request has named meanwhile. Made here, where
   * it holds nothing of that request: it lives as long as the stage runs.
   */
  const askOf =
    (server: StageServer, id: string, backend: string): AskThumbnail =>
    (signal) =>
      server.thumbnail(id, workerFor(readAttempts(rows), backend), signal);

  const tagOf = (account: string): Promise<string> => accountTag(env().SIGNING_SECRET, account);

  /** The configured backends that may be asked for a model. */
  const backendsFor = (model: string) =>
    (open()?.backends ?? []).filter(({ models }) => models.includes('*') || models.includes(model));

  /** Those of the regions, in the order of the regions; the nameless region has them all. */
  const backendsIn = (regions: readonly string[], backends: readonly Backend[]): readonly Backend[] =>
    regions.includes('') ? backends : regions.flatMap((region) => backends.filter((each) => each.region === region));

  return {
    tagOf,
    async address(row, { stage, tokens, sigmas, rgbSize, options: asked }, slot) {
      const server = open()?.server(slot.backend);
      if (!server) return null;
      const full = optionsFor({ ...asked, account_tag: await tagOf(row.account) }, slot.features);
      const plain = plainOptions(full);
      const { steps, evaluations } = stage;
      const make = async (options: StageOptions, isPlain: boolean): Promise<AddressedRequest> => {
        const body = encodeStageRequest(options, { ...tokens, sigmas });
        const id = await stageId(row.id, stage.stage, body);
        const numTokens = tokens.scale.length;
        const numValues = tokens.latents.length / numTokens;
        const worker = workerFor(readAttempts(rows), slot.backend);
        const call = { id, body, options, numTokens, numValues, steps, evaluations, rgbSize, worker };
        return {
          stageId: id,
          isPlain,
          plain: isPlain ? null : () => make(plain, true),
          thumbnail: slot.features.includes('thumbnail' satisfies Feature) ? askOf(server, id, slot.backend) : null,
          send: (limits) => server.run({ ...call, ...limits }),
        };
      };
      // a server that refused an option would refuse it again, and a repeated request needs the same bytes
      const isPlain = isPlainAt(readAttempts(rows), slot.backend);
      return make(isPlain ? plain : full, isPlain);
    },
    dispatchers(regions, model, tried) {
      const all = backendsIn(regions, backendsFor(model));
      const hopeful = all.filter(({ id, weight }) => weight > 0 && !tried.includes(id));
      return [...new Set([...hopeful, ...all].map(dispatcherName))];
    },
    async without({ needs, engine, last, tried, regions }) {
      const known = (await open()?.servers()) ?? [];
      const may = backendsIn(
        regions,
        known.map(({ backend }) => backend),
      );
      const servers = known.filter(({ backend }) => may.includes(backend));
      const fitting = servers.flatMap((server) => {
        const { fit } = fitOf(server, needs, engine);
        return fit && server.backend.weight > 0 ? [{ id: server.backend.id, fit }] : [];
      });
      const untried = fitting.filter(({ id }) => !tried.includes(id));
      const best = untried.find(({ id }) => id === last) ?? untried[0] ?? fitting[0];
      if (best) return { ...best.fit, backend: best.id, lease: 0 };
      const unfit = servers.map((server) => ({ id: server.backend.id, why: fitOf(server, needs, engine).why }));
      logLine('no_server', { job_id: job, unfit: JSON.stringify(unfit) });
      return null;
    },
    areOne(one, other) {
      const [a, b] = [one, other].map((id) => open()?.backends.find((backend) => backend.id === id));
      return one === other || (a !== undefined && b !== undefined && a.url === b.url && a.binding === b.binding);
    },
    hasOther: (ids, model, regions) =>
      backendsIn(regions, backendsFor(model)).some(({ id, weight }) => weight > 0 && !ids.includes(id)),
    isThere: (id) => (open()?.server(id) ?? null) !== null,
    byId: (id) => opened().server(id),
    all: () => opened().all(),
  };
}
