/** Whatever a stage server does wrong, side by side: a job a fault, each with a script of its own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createParser } from 'eventsource-parser';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { type Stack, startStack } from '../../scripts/local/stack.ts';
import type { JobEvent } from '../../src/job/events.ts';
import type { Tensor } from '../../src/stage/safetensors.ts';
import { startPacedServer } from '../contract/paced-server.ts';
import { type Fault, type FaultyStageByJob, startFaultyStageByJob } from './faulty-stage.ts';

// they sleep more than they compute
vi.setConfig({ maxConcurrency: 16 });

const TOKEN = 'faults-token';
const ATTEMPTS = 3;
/** More backends than any script of faults runs through, at one address: who met a fault goes on at the next. */
const BACKENDS = Array.from({ length: 40 }, (_, i) => `f-${i}`);
const RED_APPLE = { prompt: 'a red apple', width: 256, height: 256, preset: '7x', seed: 7 };

let folder: string;
let real: Awaited<ReturnType<typeof startPacedServer>>;
let proxy: FaultyStageByJob;
let stack: Stack;
let undisturbed: Buffer;
/** every line that the Worker and the object logged */
const logs: string[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ralu-faults-'));
  // as many may wait as there are jobs here
  real = await startPacedServer({ token: TOKEN, queue: 100 });
  proxy = await startFaultyStageByJob(real.url);
  stack = await startStack({
    persistTo: folder,
    bundle: inject('bundle'),
    stage: { url: proxy.url, token: TOKEN },
    onLog: (line) => logs.push(line),
    vars: {
      STAGE_ATTEMPTS: String(ATTEMPTS),
      // longer than a busy machine is silent
      STAGE_SILENCE_SECONDS: '8',
      STAGE_TIMEOUT_SECONDS: '20',
      // and jobs are taken that wait for those before them there
      QUEUE_SECONDS: '20',
      BACKENDS: JSON.stringify(BACKENDS.map((id) => ({ id, url: proxy.url }))),
      ...Object.fromEntries(BACKENDS.map((id) => [`BACKEND_TOKEN_${id.toUpperCase().replace('-', '_')}`, TOKEN])),
    },
  });
  undisturbed = await finish(await create());
});

afterAll(async () => {
  await stack?.close();
  await proxy?.close();
  await real?.stop();
  await rm(folder, { recursive: true, force: true });
});

const call = (path: string, init: RequestInit = {}) =>
  fetch(new URL(path, stack.url), {
    ...init,
    headers: { authorization: `Bearer ${stack.key}`, ...(init.body ? { 'content-type': 'application/json' } : {}) },
  });

/** A job whose stage requests wait until it is said what they meet. */
async function start(request: object): Promise<string> {
  const response = await call('/v1/jobs', { method: 'POST', body: JSON.stringify(request) });
  if (response.status !== 202) throw new Error(await response.text());
  return ((await response.json()) as { id: string }).id;
}

/** A job whose stage requests meet these faults. */
async function create(faults: readonly Fault[] = [], always?: Fault): Promise<string> {
  const id = await start(RED_APPLE);
  proxy.meet(id, faults, always);
  return id;
}

async function eventsOf(id: string, onEvent?: (event: JobEvent) => Promise<void> | void): Promise<JobEvent[]> {
  const response = await call(`/v1/jobs/${id}/events`);
  const events: JobEvent[] = [];
  const parser = createParser({
    onEvent: ({ event, data }) => events.push({ type: event, data: JSON.parse(data) } as JobEvent),
  });
  let told = 0;
  for await (const text of (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream())) {
    parser.feed(text);
    for (; told < events.length; told++) await onEvent?.(events[told] as JobEvent);
  }
  return events;
}

/** The image of a job that must end well. */
async function finish(id: string): Promise<Buffer> {
  const last = (await eventsOf(id)).at(-1);
  if (last?.type !== 'done') throw new Error(`expected done, got ${JSON.stringify(last)}`);
  return Buffer.from(await (await call(`/v1/jobs/${id}/image`)).arrayBuffer());
}

const spoilMetadata = (changes: Record<string, string>): Fault => ({
  kind: 'spoil',
  spoil: ({ metadata, tensors }) => ({ metadata: { ...metadata, ...changes }, tensors }),
});
const spoilTensor = (name: string, change: (tensor: Tensor) => Tensor): Fault => ({
  kind: 'spoil',
  spoil: ({ metadata, tensors }) => ({ metadata, tensors: { ...tensors, [name]: change(tensors[name] as Tensor) } }),
});

const failedWith = async (faults: readonly Fault[], always?: Fault) =>
  (await eventsOf(await create(faults, always))).at(-1);

describe.concurrent('a fault of the stage server costs time and not the picture', () => {
  const random = Uint8Array.from({ length: 4096 }, (_, i) => (i * 73) % 251);
  const forward: Fault = { kind: 'forward' };
  test.each<[string, Fault]>([
    ['closes the connection', { kind: 'refuse' }],
    ['answers 500', { kind: 'status', status: 500, body: 'oops' }],
    ['answers 200 with nothing', { kind: 'status', status: 200 }],
    ['answers 204', { kind: 'status', status: 204 }],
    ['answers garbage', { kind: 'bytes', bytes: random }],
    [
      'answers a page of HTML',
      { kind: 'bytes', bytes: new TextEncoder().encode('<html><body>502 Bad Gateway</body></html>') },
    ],
    ['says its header has more bytes than memory', { kind: 'bytes', bytes: new Uint8Array(16).fill(0xff) }],
    ['dies in the middle of its stream', { kind: 'cut', missing: 3000, how: 'break' }],
    ['ends its body inside the last message', { kind: 'cut', missing: 5, how: 'end' }],
    ['ends its body before the last message', { kind: 'cut', missing: 100_000, how: 'end' }],
    ['accepts and never answers', { kind: 'hang', after: 'nothing' }],
    ['answers its headers and hangs', { kind: 'hang', after: 'headers' }],
    [
      'reports an error that may pass',
      spoilMetadata({ event: 'error', code: 'engine_failed', message: 'out of memory', retryable: 'true' }),
    ],
    ['has another model than the plan', spoilMetadata({ model_digest: 'sha256:other' })],
    ['says it did other steps than asked', spoilMetadata({ steps_done: '1' })],
    [
      'answers latents that are not numbers',
      spoilTensor('latents', ({ data, shape }) => ({ data: data.with(5, Number.NaN) as Float32Array, shape })),
    ],
    [
      'answers latents of another width',
      spoilTensor('latents', ({ data, shape: [n = 0, width = 0] }) => ({
        data: data.subarray(0, (n * width) / 4),
        shape: [n, width / 4],
      })),
    ],
    [
      'answers a picture of another size',
      spoilTensor('rgb', ({ data, shape: [height = 0, width = 0] }) => ({
        data: data.subarray(0, (height * width * 3) / 4),
        shape: [height / 2, width / 2, 3],
      })),
    ],
  ])('%s, in the first stage or a later one', async (_, fault) => {
    // what spoils latents has none to spoil in the last stage
    for (const faults of [[fault], [forward, fault]]) {
      const id = await create(faults);
      const events = await eventsOf(id);
      expect(events.at(-1)?.type).toBe('done');
      const retries = events.flatMap(({ type, data }) => (type === 'retry' ? [data.reason] : []));
      expect(retries, retries.join()).toHaveLength(1);
      expect(Buffer.from(await (await call(`/v1/jobs/${id}/image`)).arrayBuffer()).equals(undisturbed)).toBe(true);
    }
  });

  test('is busy for a while: waiting is no attempt', async () => {
    const busy: Fault = { kind: 'status', status: 503, headers: { 'retry-after': '0' } };
    const id = await create(Array.from({ length: ATTEMPTS + 2 }, () => busy));
    const events = await eventsOf(id);
    expect(events.filter(({ type }) => type === 'retry')).toHaveLength(0);
    expect(
      events.filter(({ type, data }) => type === 'queued' && 'stage' in data && data.stage === 1).length,
    ).toBeGreaterThan(0);
    expect((await finish(id)).equals(undisturbed)).toBe(true);
  });

  test('answers late, after the cancel: the job stays cancelled and the server is told', async ({ expect }) => {
    const gate = Promise.withResolvers<void>();
    const id = await create([{ kind: 'forward' }, { kind: 'hold', until: gate.promise }]);
    const ofThisJob = (paths: readonly string[]) => paths.filter((path) => path.includes(id));
    const events = await eventsOf(id, async (event) => {
      if (event.type === 'stage' && event.data.stage === 2) {
        await expect.poll(() => ofThisJob(proxy.seen).length, { timeout: 5000 }).toBe(2);
        expect((await call(`/v1/jobs/${id}/cancel`, { method: 'POST' })).status).toBe(200);
        gate.resolve();
      }
    });
    expect(events.at(-1)).toMatchObject({ type: 'cancelled' });
    await expect.poll(() => ofThisJob(proxy.deleted).length, { timeout: 5000 }).toBe(1);
    expect(ofThisJob(proxy.deleted)[0]).toBe(ofThisJob(proxy.seen)[1]);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await (await call(`/v1/jobs/${id}`)).json()).toMatchObject({
      status: 'cancelled',
      image: null,
      // the late answer counts for nothing
      receipt: { stages: [{ stage: 1 }], tflops: { ratio: null } },
    });
  });
});

describe.concurrent('a fault that does not pass ends the job with its name when its patience ends', () => {
  test.each<[string, Fault, string]>([
    ['every answer is 500', { kind: 'status', status: 500 }, 'server_error'],
    ['every answer is garbage', { kind: 'bytes', bytes: new Uint8Array(64) }, 'invalid_response'],
    ['every answer is cut', { kind: 'cut', missing: 5, how: 'end' }, 'invalid_response'],
    ['every server has another model', spoilMetadata({ model_digest: 'sha256:other' }), 'model_changed'],
    ['no server answers at all', { kind: 'hang', after: 'headers' }, 'timeout'],
  ])('%s', async (_, fault, reason) => {
    const last = await failedWith([], fault);
    expect(last).toMatchObject({ type: 'failed', data: { reason, stage: 1 } });
    expect(last).toHaveProperty(
      'data.attempts',
      expect.toSatisfy((attempts: number) => attempts > 1),
    );
  });

  test('every server reports that the stage failed: after so many the stage is held to be at fault', async () => {
    const fault = spoilMetadata({ event: 'error', code: 'model_failed', message: 'out of memory', retryable: 'true' });
    expect(await failedWith([], fault)).toMatchObject({
      type: 'failed',
      data: { reason: 'model_failed', stage: 1, attempts: ATTEMPTS },
    });
  });

  test('a refusal is final: the same request would be refused again', async () => {
    const refusal: Fault = {
      kind: 'status',
      status: 422,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ code: 'too_many_tokens', message: 'got 256 tokens, at most 64', field: 'latents' }),
    };
    const last = await failedWith([{ kind: 'forward' }, refusal]);
    expect(last).toMatchObject({
      type: 'failed',
      data: { reason: 'refused', stage: 2, attempts: 1, message: expect.stringContaining('too_many_tokens') },
    });
  });

  test('an error reported as final is', async () => {
    const fault = spoilMetadata({ event: 'error', code: 'bad_model', message: 'weights are gone', retryable: 'false' });
    expect(await failedWith([fault])).toMatchObject({
      type: 'failed',
      data: { reason: 'reported', attempts: 1, message: expect.stringContaining('bad_model') },
    });
  });

  test('a server that is not there is waited for only so long, and that is no attempt', async () => {
    expect(await failedWith([], { kind: 'refuse' })).toMatchObject({
      type: 'failed',
      data: { reason: 'unreachable', stage: 1, attempts: 0 },
    });
  });

  test('a server that stays busy is waited for only so long', async () => {
    expect(await failedWith([], { kind: 'status', status: 503, headers: { 'retry-after': '0' } })).toMatchObject({
      type: 'failed',
      data: { reason: 'no_capacity', stage: 1 },
    });
  });
});

describe.concurrent('a thumbnail that is wrong is no fault: the job goes on, with the same picture', () => {
  /** long enough to be looked at */
  const LONG = { prompt: 'a red apple', width: 256, height: 256, N: [99], e: [1], seed: 7 };
  const lookedAt = (id: string): number => proxy.looked.filter((path) => path.includes(id)).length;
  const imageOf = async (id: string) => Buffer.from(await (await call(`/v1/jobs/${id}/image`)).arrayBuffer());

  /** A job that begins once somebody watches, whose looks meet this. */
  async function watchFrom(fault: Fault) {
    const id = await start(LONG);
    proxy.meetLooks(id, fault);
    const events = await eventsOf(id, ({ type }) => {
      if (type === 'plan') proxy.meet(id, []);
    });
    return { id, events };
  }

  let unseenId: Promise<string>;
  let unseen: Promise<Buffer>;
  beforeAll(() => {
    unseenId = start(LONG);
    unseen = unseenId.then(async (id) => {
      proxy.meet(id, []);
      await (await call(`/v1/jobs/${id}?wait=60`)).arrayBuffer();
      return imageOf(id);
    });
  });

  const SIZED = { 'content-type': 'image/webp', 'x-stage-step': '3', 'x-stage-size': '96x96' };
  const webp = new Uint8Array(5 * 2 ** 20);
  webp.set(new TextEncoder().encode('RIFF----WEBP'));

  test.each<[string, Fault]>([
    ['has 5 MB', { kind: 'status', status: 200, headers: SIZED, body: webp }],
    ['is garbage', { kind: 'status', status: 200, headers: SIZED, body: 'no picture at all' }],
    ['never comes', { kind: 'hang', after: 'nothing' }],
    ['begins and never comes', { kind: 'hang', after: 'headers' }],
    ['is a failure', { kind: 'status', status: 500, body: 'oops' }],
    ['is a connection that breaks', { kind: 'refuse' }],
    ['is of no stage', { kind: 'status', status: 404, body: '{"code": "unknown_stage", "message": "no such stage"}' }],
  ])('it %s', async (_, fault) => {
    const { id, events } = await watchFrom(fault);
    expect(lookedAt(id)).toBeGreaterThan(0);
    expect(events.filter(({ type }) => String(type) === 'thumbnail' || type === 'retry')).toEqual([]);
    expect(events.at(-1)).toMatchObject({ type: 'done', data: { receipt: { stages: [{ attempts: 1 }] } } });
    expect((await imageOf(id)).equals(await unseen)).toBe(true);
  });

  test('and one that is right comes', async () => {
    const { id, events } = await watchFrom({ kind: 'forward' });
    expect(events.map(({ type }) => String(type))).toContain('thumbnail');
    expect((await imageOf(id)).equals(await unseen)).toBe(true);
  });

  test('nobody looks at what nobody watches', async () => {
    expect((await unseen).length).toBeGreaterThan(0);
    expect(lookedAt(await unseenId)).toBe(0);
  });
});

describe.concurrent('a finished picture without its small one is a picture all the same', () => {
  const forward: Fault = { kind: 'forward' };
  const spoilPreview = (preview: Tensor | null): Fault => ({
    kind: 'spoil',
    spoil: ({ metadata, tensors: { preview: _, ...others } }) => ({
      metadata,
      tensors: preview ? { ...others, preview } : others,
    }),
  });

  test.each<[string, Fault]>([
    ['where none comes', spoilPreview(null)],
    ['where it is too large to keep', spoilPreview({ data: new Uint8Array(17 * 1024), shape: [17 * 1024] })],
    ['where it is none', spoilPreview({ data: new Float32Array(4), shape: [4] })],
  ])('%s', async (_, fault) => {
    const id = await create([forward, forward, fault]);
    expect((await finish(id)).equals(undisturbed)).toBe(true);
    const job = (await (await call(`/v1/jobs/${id}`)).json()) as {
      links: { thumbnail: string | null };
      receipt: object;
    };
    expect(job).toMatchObject({ links: { thumbnail: null }, receipt: { stages: [{}, {}, { attempts: 1 }] } });
  });
});

test('what was logged of all that names jobs and reasons, and no prompt, key or token', () => {
  const lines = logs.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(
    lines.some(
      ({ event, reason, job_id }) =>
        event === 'stage_failed' && reason === 'server_error' && String(job_id).startsWith('job_'),
    ),
  ).toBe(true);
  expect(lines.some(({ event, room }) => event === 'job_ended' && room === 'done')).toBe(true);
  expect(logs.filter((line) => [RED_APPLE.prompt, stack.key, TOKEN].some((secret) => line.includes(secret)))).toEqual(
    [],
  );
});
