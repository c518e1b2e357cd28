/** What is held while a stage runs: the object of a job may be one of many in its isolate. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { makeThumbnails } from '../../durable-objects/job/thumbnails.ts';
import { CLOSED_FORM_FACTS } from '../../scripts/local/closed-form-model.ts';
import { openDatabase, sqlOver } from '../../scripts/soak/sqlite.ts';
import type { Slot } from '../../src/fleet/slots.ts';
import type { Job, JobRecord } from '../../src/job/job.ts';
import { FIRST_ROOM, type Ran, type Step, type Tools, walkRoom } from '../../src/job/story.ts';
import { initialTokens } from '../../src/numerics/tokens.ts';
import { connectStageServer, encodeStageRequest, type StageCall } from '../../src/stage/client.ts';
import { planOn, requestOn, value } from './requests.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** A module that is written against the platform's types, which are not those of Node. */
const load = (path: string) =>
  import(/* @vite-ignore */ new URL(`../../durable-objects/${path}`, import.meta.url).href);

/** Whether any of the references still leads to something, once the garbage is collected. */
async function areHeld(...references: readonly WeakRef<object>[]): Promise<boolean[]> {
  // a reference that was read or made is kept until the turn is over
  for (let turn = 0; turn < 3; turn++) await nextTurn();
  collect();
  return references.map((reference) => reference.deref() !== undefined);
}

/** A job that stands before its last stage. */
function nearlyDone(): Job {
  const input = { preset: '7x' };
  const plan = value(planOn(CLOSED_FORM_FACTS, input));
  return {
    id: 'job_1',
    request: requestOn(CLOSED_FORM_FACTS, input),
    plan,
    room: { ...FIRST_ROOM, name: 'stage', stage: 3 },
    tokens: initialTokens({ rows: plan.rows / 2, cols: plan.cols / 2, values: 16, seed: 1, scale: 2 }),
    rgb: null,
    selections: null,
    usage: [],
  };
}

afterEach(() => void vi.unstubAllGlobals());

describe('a stage that runs', () => {
  test('holds neither the latents before it nor those it was sent', async () => {
    const references: WeakRef<object>[] = [];
    const running = Promise.withResolvers<Ran>();
    const begin = (): Promise<Step> => {
      const job = nearlyDone();
      references.push(new WeakRef(job.tokens?.latents as object));
      const runStage: Tools['runStage'] = ({ tokens }) => {
        references.push(new WeakRef(tokens.latents));
        return running.promise;
      };
      return walkRoom(job, { runStage, clock: () => 0 });
    };
    const step = begin();
    while (references.length < 2) await nextTurn();
    expect(await areHeld(...references)).toEqual([false, false]);
    const failure = { ok: false, failure: { reason: 'no_server' } } as const;
    running.resolve(failure);
    expect(await step).toEqual(failure);
  });

  test('holds no body once that is on its way', async () => {
    const references: WeakRef<object>[] = [];
    const answer = Promise.withResolvers<Response>();
    const server = connectStageServer({
      url: 'https://stage.example',
      token: 'token',
      fetcher: (_, init) => {
        references.push(new WeakRef(init?.body as object));
        return answer.promise;
      },
    });
    const run = (): Promise<unknown> => {
      const tokens = initialTokens({ rows: 8, cols: 8, values: 16, seed: 1, scale: 1 });
      const options = { model: 'm' } as unknown as StageCall['options'];
      const body = encodeStageRequest(options, { ...tokens, sigmas: Float32Array.of(1, 0) });
      const limits = { timeoutMs: 60_000, silenceMs: 60_000, lineMs: 60_000, signal: new AbortController().signal };
      const wanted = { numTokens: 64, numValues: 16, steps: 1, evaluations: 1, rgbSize: { width: 8, height: 8 } };
      return server.run({ id: 'job_1.1.0', body, options, ...wanted, ...limits, onProgress: () => undefined });
    };
    const outcome = run();
    while (references.length < 1) await nextTurn();
    expect(await areHeld(...references)).toEqual([false]);
    answer.resolve(new Response(null, { status: 500 }));
    expect(await outcome).toEqual({ ok: false, failure: { reason: 'server_error', status: 500 } });
  });

  test.each<Pick<Slot, 'features'>>([{ features: [] }, { features: ['thumbnail'] }])(
    'holds neither its request nor its latents where the features of its server are $features',
    async ({ features }) => {
      const references: WeakRef<object>[] = [];
      const answer = Promise.withResolvers<Response>();
      vi.stubGlobal('caches', { default: null });
      vi.stubGlobal('fetch', (_: unknown, init: RequestInit) => {
        references.push(new WeakRef(init.body as object));
        return answer.promise;
      });
      const storage = {
        sql: sqlOver(
          openDatabase(() => 0.5),
          () => undefined,
        ),
      };
      const env = {
        BACKENDS: JSON.stringify([{ id: 'local', url: 'http://stage.test', models: ['*'] }]),
        BACKEND_TOKEN_LOCAL: 'token',
        SIGNING_SECRET: 'test-signing-secret-with-32-bytes-or-more',
      };
      const [{ makeServers }, { makeRows }] = await Promise.all([load('job/servers.ts'), load('job/rows.ts')]);
      const servers = makeServers(() => env, makeRows(storage), 'job_1');
      const thumbnails = makeThumbnails({ areWanted: () => true, show: () => undefined });
      const send = async (): Promise<ReturnType<Tools['runStage']>> => {
        const job = nearlyDone();
        const running = Promise.withResolvers<Ran>();
        const runStage: Tools['runStage'] = async (request) => {
          references.push(new WeakRef(request.tokens.latents));
          const record = { id: job.id, account: 'acct_1' } satisfies Partial<JobRecord>;
          const slot: Partial<Slot> = { backend: 'local', features, engineClass: 'cpu', lease: 0 };
          const addressed = await servers.address(record, request, slot);
          thumbnails.begin(3, addressed?.thumbnail ?? null);
          const limits = { timeoutMs: 60_000, silenceMs: 60_000, lineMs: 60_000, signal: new AbortController().signal };
          void addressed?.send({ ...limits, onProgress: () => undefined });
          return running.promise;
        };
        void walkRoom(job, { runStage, clock: () => 0 });
        return running.promise;
      };
      void send();
      while (references.length < 2) await nextTurn();
      expect(await areHeld(...references)).toEqual([false, false]);
      answer.resolve(new Response(null, { status: 500 }));
    },
  );
});
