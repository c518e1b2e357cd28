/** Old and new together: a Worker and a stage server of different versions of the contract understand each other. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SUPPORTED } from '../../containers/onnx/validate.ts';
import { type Calls, CLOSED_FORM_FACTS, closedFormModel } from '../../scripts/local/closed-form-model.ts';
import { type Fit, fitOf } from '../../src/fleet/fit.ts';
import { openFleet } from '../../src/fleet/fleet.ts';
import type { KnownServer } from '../../src/fleet/models.ts';
import { encodeStageRequest, type StageOutcome, stageId } from '../../src/stage/client.ts';
import {
  CONTRACT_VERSION,
  optionsFor,
  parseMetadata,
  REQUEST_TEXTS,
  type StageTensors,
  stageOptions,
} from '../../src/stage/contract.ts';
import { memoryCache } from '../fleet/cache.ts';
import type { Started } from './conformance.ts';
import { type Golden, goldenBytes, listedMessages } from './golden/listed.ts';
import { call, freshId, put, stageBody } from './requests.ts';
import { startServer, TEST_TOKEN } from './start.ts';
import {
  eventValues1,
  health1,
  modelList1,
  readAnswer1,
  stageEvent1,
  stageProblem1,
  startVersion1,
  type Version1Server,
} from './version-1.ts';
import { modelList2 } from './version-2.ts';

const FACTS = { ...CLOSED_FORM_FACTS, sizes: [{ width: 64, height: 64 }] };
const ENGINE = 'closed-form/1 cpu linux-x64+avx2 threads=2';
const golden = listedMessages();
const oldRequests = golden.filter(({ kind, version }) => kind === 'request' && version === 1);
const newRequest = golden.find(({ file }) => file === 'request-low.safetensors') as Golden;

let server: Started;
let old: Version1Server;
let calls: Calls;
beforeAll(async () => {
  const closedForm = closedFormModel({ facts: FACTS });
  calls = closedForm.calls;
  server = await startServer([{ ...closedForm.model, engine: ENGINE }]);
  old = await startVersion1(server);
});
afterAll(async () => {
  await old?.stop();
  await server?.stop();
});

describe('a Worker of version 1 at this server', () => {
  test('reads its models, the facts it has always known', async () => {
    const list = modelList1.parse(await (await call(server, 'GET', 'v1/models')).json());
    const { scripts: _, family: __, size_rule: ___, upsampling: ____, caches: _____, ...known } = FACTS;
    expect(list).toEqual({ models: [known] });
  });

  test.each(oldRequests.map(({ file }) => [file] as const))('has %s done, and reads every message', async (file) => {
    const all = await readAnswer1(await put(server, freshId(), goldenBytes(file)));
    const last = all.at(-1);
    expect(last?.event).toMatchObject({ event: 'done', steps_done: 2, engine: ENGINE, model_digest: FACTS.digest });
    expect(all.slice(0, -1).map(({ event }) => event.event)).toEqual(['step', 'step']);
  });

  test('reads its refusals, its queue, and an error in the middle of an answer', async () => {
    const refused = await put(server, freshId(), stageBody(FACTS, { sigmas: [1] }));
    expect(stageProblem1.parse(await refused.json())).toMatchObject({ code: 'out_of_range', field: 'sigmas' });
    health1.parse(await (await call(server, 'GET', 'healthz')).json());
    const [id, body] = [freshId(), stageBody(FACTS, { sigmas: Array.from({ length: 900 }, (_, i) => 1 - i / 1000) })];
    const running = put(server, id, body).then(readAnswer1);
    while ((await call(server, 'DELETE', `v1/stages/${id}`)).status !== 204);
    expect((await running).at(-1)?.event).toMatchObject({ event: 'error', code: 'cancelled', retryable: false });
  });
});

describe('version 2', () => {
  test('a Worker that speaks it reads the models of this server, the facts it has always known', async () => {
    const { models, contract } = modelList2.parse(await (await call(server, 'GET', 'v1/models')).json());
    const { family: _, size_rule: __, upsampling: ___, caches: ____, ...known } = FACTS;
    expect(models).toEqual([{ ...known, engine_class: ENGINE, deterministic: true }]);
    expect(contract.features).toEqual([
      'account_tag',
      'solver.ab2',
      'clean_latents',
      'cache.taylor_velocity',
      'late_preview',
      'enlarge',
      'thumbnail',
    ]);
  });

  test('a server that speaks it has its token in the header it knows, and is sent no cache of blocks', async () => {
    const features = ['account_tag', 'solver.ab2', 'clean_latents', 'cache.taylor_velocity'];
    const { family: _, size_rule: __, upsampling: ___, caches: ____, ...known } = FACTS;
    const said = { contract: { version: 2, features }, models: [{ ...known, engine_class: ENGINE }] };
    const seen: (string | undefined)[] = [];
    const older = createServer((request, response) => {
      seen.push(request.headers.authorization);
      response.end(JSON.stringify(said));
    });
    await new Promise<void>((resolve) => older.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = older.address() as AddressInfo;
      const { servers } = await fleetOf({ id: 'older', url: `http://127.0.0.1:${port}` });
      expect(seen).toEqual([`Bearer ${TEST_TOKEN}`]);
      expect(servers[0]?.list?.models[0]).toMatchObject({ family: null, size_rule: null, caches: ['taylor_velocity'] });
      expect(fits(servers, 'cache.taylor_velocity')).toEqual({ older: { engineClass: ENGINE, features } });
      expect(fits(servers, 'cache.taylor_blocks')).toEqual({ older: { lacks: ['cache.taylor_blocks'] } });
    } finally {
      older.close();
    }
  });
});

/** A fleet of these servers, in this order, and what it knows of them. */
async function fleetOf(...servers: readonly { id: string; url: string }[]) {
  const BACKENDS = JSON.stringify(servers.map(({ id, url }) => ({ id, url })));
  const tokens = Object.fromEntries(servers.map(({ id }) => [`BACKEND_TOKEN_${id.toUpperCase()}`, TEST_TOKEN]));
  const fleet = openFleet({ BACKENDS, ...tokens }, { cache: memoryCache(Date.now), clock: Date.now });
  return { fleet, servers: await fleet.servers() };
}

/** What each server may be sent of a stage that needs these features, or why it cannot take it. */
const fits = (servers: readonly KnownServer[], ...features: string[]) =>
  Object.fromEntries(
    servers.map((known) => {
      const { fit, why } = fitOf(known, { model: FACTS.id, digest: FACTS.digest, features }, null);
      return [known.backend.id, fit ?? why];
    }),
  );

/** The golden request with an account tag, as this Worker sends it to a server that fits. */
async function send(
  { fleet }: Awaited<ReturnType<typeof fleetOf>>,
  { id, features }: { readonly id: string } & Pick<Fit, 'features'>,
  job: string = freshId(),
): Promise<StageOutcome | undefined> {
  const { latents, img_ids, sigmas, scale } = newRequest.tensors;
  const tensors = {
    latents: latents?.data,
    imgIds: img_ids?.data,
    sigmas: sigmas?.data,
    scale: scale?.data,
  } as StageTensors;
  const options = optionsFor(stageOptions.parse(parseMetadata(newRequest.metadata, REQUEST_TEXTS)), features);
  const body = encodeStageRequest(options, tensors);
  return fleet.server(id)?.run({
    id: await stageId(job, 1, body),
    body,
    options,
    numTokens: tensors.scale.length,
    numValues: 16,
    steps: tensors.sigmas.length - 1,
    evaluations: tensors.sigmas.length - 1,
    rgbSize: { width: 32, height: 32 },
    signal: new AbortController().signal,
    timeoutMs: 10_000,
    silenceMs: 10_000,
    lineMs: 10_000,
    onProgress: () => {},
  });
}

describe('this Worker at a server of version 1', () => {
  test('knows that it states no contract, no engine class and no feature', async () => {
    const { servers } = await fleetOf({ id: 'old', url: old.url });
    expect(servers[0]?.list).toEqual({
      contract: { version: 1, features: [] },
      models: [{ ...FACTS, family: null, engine_class: null, deterministic: false }],
    });
  });

  test('has a stage done there without the account tag, in the bytes of version 1', async () => {
    const fleet = await fleetOf({ id: 'old', url: old.url });
    expect(fits(fleet.servers)).toEqual({ old: { engineClass: null, features: [] } });
    const outcome = await send(fleet, { id: 'old', features: [] });
    expect(outcome).toMatchObject({ ok: true, result: { rgb: { width: 32, height: 32 } } });
    const { done } = (outcome as Extract<StageOutcome, { ok: true }>).result;
    expect(done).toMatchObject({ engine: 'closed-form/1 cpu', steps_done: 2 });
    expect(done.text_tokens).toBe(undefined);
    expect(old.requests.at(-1)).toEqual(oldRequests[0]?.metadata);
  });

  test('would be refused with the tag', async () => {
    const fleet = await fleetOf({ id: 'old', url: old.url });
    const outcome = await send(fleet, { id: 'old', features: ['account_tag'] });
    expect(outcome).toMatchObject({ ok: false, failure: { reason: 'refused', status: 400, code: 'bad_metadata' } });
  });

  test('does not send it a stage that needs a feature: it does not fit, and one beside it that has it does', async () => {
    const { servers } = await fleetOf({ id: 'old', url: old.url }, { id: 'new', url: server.url });
    for (const feature of ['solver.ab2', 'cache.taylor_velocity', 'enlarge'])
      expect(fits(servers, feature)).toEqual({
        old: { lacks: [feature] },
        new: { engineClass: ENGINE, features: SUPPORTED },
      });
  });
});

test('this Worker at this server sends the tag, and hears text tokens and the engine class that is stated', async () => {
  const fleet = await fleetOf({ id: 'new', url: server.url });
  expect(fleet.servers[0]?.list?.contract).toEqual({ version: CONTRACT_VERSION, features: SUPPORTED });
  expect(fits(fleet.servers)).toEqual({ new: { engineClass: ENGINE, features: SUPPORTED } });
  const before = calls.encodeText;
  const outcome = await send(fleet, { id: 'new', features: SUPPORTED });
  expect(outcome).toMatchObject({ ok: true, result: { done: { engine: ENGINE, text_tokens: 3 } } });
  // the prompt was known, but not for this account
  expect(calls.encodeText).toBe(before + 1);
});

test('both servers give the same picture, and the old one says nothing that version 1 does not know', async () => {
  for (const { file } of oldRequests) {
    const [one, two] = await Promise.all(
      [server, old].map((each) => put(each, freshId(), goldenBytes(file)).then(readAnswer1)),
    );
    expect(two?.at(-1)?.tensors).toEqual(one?.at(-1)?.tensors);
    for (const message of two ?? []) expect(stageEvent1.parse(eventValues1(message))).toEqual(eventValues1(message));
  }
  const models = await (await call(old, 'GET', 'v1/models')).json();
  expect(modelList1.parse(models)).toEqual(models);
});
