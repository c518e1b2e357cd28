/** Replicate's own client against the running stack. */
import { decode } from 'fast-png';
import Replicate, { type Prediction, validateWebhook } from 'replicate';
import { beforeAll, describe, expect, test } from 'vitest';
import { getJob } from '../../scripts/generate/client.ts';
import {
  countedFetch,
  type Door,
  type Listener,
  listen,
  openDoor,
  openPoorDoor,
  type Received,
  until,
} from './doors.ts';

let rig: Door;
let client: Replicate;
let model: `${string}/${string}`;

beforeAll(async () => {
  rig = await openDoor();
  client = new Replicate({ auth: rig.service.key, baseUrl: `${rig.service.url}/v1` });
  const { data } = (await (
    await fetch(`${rig.service.url}/v1/models`, { headers: { authorization: `Bearer ${rig.service.key}` } })
  ).json()) as { data: { id: string }[] };
  model = `ralu/${data[0]?.id}`;
});

const APPLE = { prompt: 'a red apple', width: 256, height: 256, seed: 7 };
const LONG = { prompt: 'a fox', width: 256, height: 256, N: [900], e: [1] };
const bytesAt = async (url: string): Promise<Uint8Array> => new Uint8Array(await (await fetch(url)).arrayBuffer());

describe('run', () => {
  test('resolves to the picture’s address, open without a key', async () => {
    const output = (await client.run(model, { input: APPLE })) as string[];
    expect(decode(await bytesAt(output[0] as string)).width).toBe(256);
  });

  test('polls on where the time to wait is over before the picture', async () => {
    const seen: string[] = [];
    const output = (await client.run(
      model,
      { input: { ...LONG, N: [120] }, wait: { mode: 'block', timeout: 1 } },
      ({ status }) => seen.push(status),
    )) as string[];
    expect(seen[0]).toBe('starting');
    expect(seen.at(-1)).toBe('succeeded');
    expect(decode(await bytesAt(output[0] as string)).width).toBe(256);
  });

  test('an abort cancels', async () => {
    const abort = new AbortController();
    let id = '';
    await client.run(
      model,
      { input: LONG, wait: { mode: 'poll', interval: 100 }, signal: abort.signal },
      (prediction) => {
        id = prediction.id;
        abort.abort();
      },
    );
    await until(rig.service, id, 'cancelled');
  });

  test('bad input is refused with the field’s name', async () => {
    await expect(client.run(model, { input: { ...APPLE, width: 100 } })).rejects.toThrow(/width/);
    await expect(client.run(model, { input: { prompt: 'x', colour: 'red' } })).rejects.toThrow(/colour/);
    await expect(client.run('ralu/nobody', { input: APPLE })).rejects.toThrow(/model/);
  });
});

describe('a whole client sequence', () => {
  test('a model, its versions, and a run of one by its digest', async () => {
    const [owner, name] = model.split('/') as [string, string];
    const found = await client.models.get(owner, name);
    expect(found).toMatchObject({ owner, name, latest_version: { cog_version: '0.3.9' } });
    const digest = found.latest_version?.id as string;
    const { results } = (await client.models.versions.list(owner, name)) as unknown as { results: { id: string }[] };
    expect(results.map(({ id }) => id)).toEqual([digest]);
    const version = await client.models.versions.get(owner, name, digest);
    const { Input, Output } = (
      version.openapi_schema as { components: { schemas: Record<string, { properties: object; required: string[] }> } }
    ).components.schemas;
    expect(Input?.required).toEqual(['prompt']);
    expect(Object.keys(Input?.properties ?? {})).toEqual(
      expect.arrayContaining(['prompt', 'aspect_ratio', 'num_outputs', 'seed', 'preset']),
    );
    expect(Output).toMatchObject({ type: 'array', items: { format: 'uri' } });
    const output = (await client.run(`${model}:${digest}`, { input: APPLE })) as string[];
    expect(decode(await bytesAt(output[0] as string)).width).toBe(256);
    const wrong = await client.models.versions.get(owner, name, 'nobody').catch((reason: unknown) => reason);
    expect(wrong).toMatchObject({ name: 'ApiError', response: { status: 404 } });
  });

  test('the list of models is one page, each of which can be asked for and run', async () => {
    const { results, next } = await client.models.list();
    expect(next).toBeNull();
    const [first] = results;
    expect(`${first?.owner}/${first?.name}`).toBe(model);
    expect(await client.models.get(first?.owner as string, first?.name as string)).toEqual(first);
    const pages: number[] = [];
    for await (const page of client.paginate(client.models.list)) pages.push(page.length);
    expect(pages).toEqual([results.length]);
  });

  test('what is not here is a 404 of problem details', async () => {
    for (const ask of [
      () => client.collections.list(),
      () => client.collections.get('text-to-image'),
      () => client.hardware.list(),
      () => client.trainings.list(),
      () => client.models.get('ralu', 'nobody'),
    ]) {
      const error = await ask().catch((reason: unknown) => reason);
      expect(error).toMatchObject({ name: 'ApiError', response: { status: 404 } });
      expect((error as Error).message).toContain('"title":"Not found"');
    }
  });

  test('a deployment is the model of its name', async () => {
    const [owner, name] = model.split('/') as [string, string];
    expect(await client.deployments.get(owner, name)).toMatchObject({ owner, name, current_release: { model } });
    const { id } = await client.deployments.predictions.create(owner, name, { input: APPLE });
    expect((await client.wait(await client.predictions.get(id), { interval: 50 })).status).toBe('succeeded');
    await expect(client.deployments.get(owner, 'nobody')).rejects.toThrow(/404/);
  });

  test('the inputs of FLUX are meant, or ignored with a warning', async () => {
    const created = await client.predictions.create({
      model,
      input: {
        prompt: 'a red apple',
        seed: null,
        go_fast: true,
        guidance: 3.5,
        megapixels: '1',
        num_outputs: 1,
        aspect_ratio: '16:9',
        output_format: 'jpg',
        output_quality: 80,
        prompt_strength: 0.8,
        num_inference_steps: 4,
        disable_safety_checker: false,
      },
    });
    const { input, warnings } = created as typeof created & { warnings: string[] };
    expect(input).toMatchObject({ width: 256, height: 128, output_format: 'jpeg' });
    expect(warnings).toEqual([
      'aspect_ratio 16:9: the picture has 256x128, the nearest that the model makes',
      'megapixels 1: the picture has 0.031 megapixels (256x128), the nearest that the model makes',
      expect.stringMatching(/^guidance is ignored: model \S+ has no guidance$/),
      'go_fast is ignored: the preset decides how much is computed',
      'prompt_strength is ignored: there is no picture to begin with',
    ]);
    const done = await client.wait(created, { interval: 50 });
    expect((await bytesAt((done.output as string[])[0] as string)).slice(0, 2)).toEqual(new Uint8Array([0xff, 0xd8]));
    await expect(
      client.predictions.create({ model, input: { ...APPLE, image: 'https://example.com/a.png' } }),
    ).rejects.toThrow(/input\.image.*made from text alone/);
  });

  test('a key may be sent as a token', async () => {
    const response = await fetch(`${rig.service.url}/v1/predictions`, {
      headers: { authorization: `Token ${rig.service.key}` },
    });
    expect(response.status).toBe(200);
  });
});

describe('several images', () => {
  test('are one prediction with as many outputs, and one in the list', async () => {
    const created = await client.predictions.create({ model, input: { ...APPLE, num_outputs: 3 } });
    const done = await client.wait(created, { interval: 50 });
    const urls = done.output as string[];
    expect(await Promise.all(urls.map(async (url) => decode(await bytesAt(url)).width))).toEqual([256, 256, 256]);
    const { metrics, receipts, job_ids } = done as typeof done & { receipts: { seed: number }[]; job_ids: string[] };
    expect(metrics).toMatchObject({ image_count: 3 });
    expect(receipts.map(({ seed }) => seed)).toEqual([7, 8, 9]);
    const { results } = await client.predictions.list();
    for (const other of job_ids.slice(1)) expect(results.map(({ id }) => id)).not.toContain(other);
    expect(results[0]).toMatchObject({ id: created.id, output: urls.map(() => expect.stringMatching(/^http/)) });
  });

  test('are cancelled together', async () => {
    const { id } = await client.predictions.create({ model, input: { ...LONG, num_outputs: 2 } });
    expect((await client.predictions.cancel(id)).status).toBe('canceled');
    const { job_ids } = (await client.predictions.get(id)) as unknown as { job_ids: string[] };
    expect(job_ids).toHaveLength(2);
    for (const job of job_ids) await until(rig.service, job, 'cancelled');
  });

  test('stream all their pictures, then one done', async () => {
    const seen: string[] = [];
    for await (const { event, data, id } of client.stream(model, { input: { ...APPLE, num_outputs: 2 } })) {
      expect(id).toMatch(/^(?:\d+\.\d+|done)$/);
      if (event !== 'logs') seen.push(event === 'output' ? String(data).slice(0, 5) : event);
    }
    expect(seen.filter((each) => each === 'data:')).toHaveLength(4);
    expect(seen.filter((each) => each === 'http:')).toHaveLength(2);
    expect(seen.filter((each) => each === 'done')).toEqual(['done']);
    expect(seen.at(-1)).toBe('done');
  });
});

test('a stream goes on after the event that was seen last, and is over after the last', async () => {
  const { urls, id } = await client.predictions.create({ model, input: APPLE });
  await until(rig.service, id, 'done');
  const events = async (lastEventId?: string): Promise<readonly string[] | number> => {
    const response = await fetch(urls.stream as string, {
      headers: lastEventId === undefined ? {} : { 'last-event-id': lastEventId },
    });
    if (response.status !== 200) return response.status;
    return (await response.text()).split('\n\n').filter((block) => block.startsWith('id: '));
  };
  const all = (await events()) as readonly string[];
  const ids = all.map((block) => /^id: (\S+)/.exec(block)?.[1] as string);
  // an event of ours may be several of these: its last one has its number, and from within it goes on where it began
  for (const seen of new Set(ids.slice(0, -1))) {
    const rest = (await events(seen)) as readonly string[];
    const expected = seen === '0' ? all : all.slice(ids.indexOf(seen) + 1);
    expect(rest.map((block) => block.length)).toEqual(expected.map((block) => block.length));
  }
  expect(await events('done')).toBe(204);
  for (const unknown of ['nonsense', '999999']) expect(await events(unknown), unknown).toHaveLength(all.length);
});

describe('predictions', () => {
  test('by version: created, got, listed; with facts of the method', async () => {
    const created = await client.predictions.create({ model, input: APPLE });
    const versioned = await client.predictions.create({ version: created.version, input: APPLE });
    expect(versioned.model).toBe(created.model);
    const done = await client.wait(created, { interval: 50 });
    expect(done).toMatchObject({ id: created.id, status: 'succeeded', error: null, input: APPLE });
    expect(done.logs?.split('\n').filter((line) => line.startsWith('stage'))).toHaveLength(3);
    expect(done.metrics?.predict_time).toBeGreaterThan(0);
    const { cost_usd, image_count } = done.metrics as unknown as Record<string, number>;
    expect(image_count).toBe(1);
    expect(cost_usd).toBe(Number((await getJob(rig.service, done.id)).cost?.usd));
    expect(cost_usd).toBeGreaterThan(0);
    expect(new Date(done.completed_at as string) >= new Date(done.created_at)).toBe(true);
    const { results } = await client.predictions.list();
    expect(results.map(({ id }) => id)).toEqual(expect.arrayContaining([created.id, versioned.id]));
  });

  test('without credit the client throws its error at once: it does not ask again', async () => {
    const { service } = await openPoorDoor();
    const counted = countedFetch();
    const poor = new Replicate({ auth: service.key, baseUrl: `${service.url}/v1`, fetch: counted.fetch });
    const error = await poor.predictions.create({ model, input: APPLE }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: 'ApiError', response: { status: 402 } });
    expect((error as Error).message).toMatch(
      /"detail":"The request may cost 0\.\d{6} USD, and the account has 0\.000000/,
    );
    expect(counted.count()).toBe(1);
  });

  test('cancelled while it runs', async () => {
    const { id } = await client.predictions.create({ model, input: LONG });
    await until(rig.service, id, 'running');
    expect((await client.predictions.cancel(id)).status).toBe('canceled');
    expect((await client.predictions.get(id)).status).toBe('canceled');
  });

  test('Cancel-After: a passed deadline ends the client’s wait as canceled', async () => {
    // others use the server too, and while it has work for longer the job is not let in
    const ask = () =>
      client.request('/predictions', {
        method: 'POST',
        headers: { 'Cancel-After': '3s' },
        data: { version: model, input: LONG },
      });
    const asked = async (tries: number): Promise<Response> => {
      try {
        return await ask();
      } catch (error) {
        if (tries === 0 || !/no_capacity/.test(String(error))) throw error;
        await new Promise((resolve) => setTimeout(resolve, 500));
        return asked(tries - 1);
      }
    };
    const response = await asked(60);
    const created = (await response.json()) as Awaited<ReturnType<typeof client.predictions.create>>;
    expect(created).toHaveProperty('deadline');
    expect((await client.wait(created, { interval: 100 })).status).toBe('canceled');
    await until(rig.service, created.id, 'failed');
  });

  test('the stream opens without a key and shows every stage’s picture', async () => {
    const outputs: string[] = [];
    let last = '';
    for await (const { event, data } of client.stream(model, { input: APPLE })) {
      if (event === 'output') outputs.push(String(data));
      last = event;
    }
    expect(last).toBe('done');
    expect(outputs.map((data) => data.slice(0, 5))).toEqual(['data:', 'data:', 'http:']);
    expect(decode(await bytesAt(outputs[2] as string)).width).toBe(256);
  });
});

/** A delivery as the web's own request, which the client's verifier takes. */
const asRequest = ({ headers, body }: Received): Request =>
  new Request('http://receiver.example/hook', { method: 'POST', headers, body });

type Events = ('start' | 'output' | 'logs' | 'completed')[];
/** A prediction as a call tells it, the id of the call, and when it came. */
interface Told extends Pick<Prediction, 'id' | 'status'> {
  readonly output: readonly string[] | null;
  readonly logs: string;
  readonly webhookId: string;
  readonly at: number;
}

describe('webhooks', () => {
  /** The prediction that each call tells, up to the end. */
  async function toldOf(listener: Listener, key: string): Promise<readonly Told[]> {
    const told: Told[] = [];
    while (!/^(?:succeeded|failed|canceled)$/.test(told.at(-1)?.status ?? '')) {
      const delivery = await listener.next();
      expect(await validateWebhook(asRequest(delivery), key)).toBe(true);
      told.push({ ...JSON.parse(delivery.body), webhookId: delivery.headers['webhook-id'], at: Date.now() });
    }
    return told;
  }
  const createdWith = (listener: Listener, events: Events | undefined, input: object = LONG) =>
    client.predictions.create({
      model,
      input,
      webhook: listener.url,
      ...(events && { webhook_events_filter: events }),
    });

  test('tell the start, the lines of the story as they come, and the end last', async () => {
    const listener = await listen();
    try {
      const { key } = await client.webhooks.default.secret.get();
      const { id } = await createdWith(listener, ['start', 'logs', 'completed'], {
        ...LONG,
        N: [30, 30],
        e: [0.5, 1],
      });
      const told = await toldOf(listener, key);
      expect(told.length).toBeGreaterThan(1);
      expect(told.map(({ status }) => status)).toEqual([...new Array(told.length - 1).fill('processing'), 'succeeded']);
      expect(told[0]).toMatchObject({ id, output: null, logs: expect.stringContaining('stage 1 of 2') });
      for (const [i, { logs, webhookId, at }] of told.slice(1).entries()) {
        const before = told[i] as Told;
        expect(logs.startsWith(before.logs)).toBe(true);
        expect(webhookId).not.toBe(before.webhookId);
        // a call may take a quarter of a second longer than another; that is no more for many of them
        if (i + 2 < told.length) expect(at - (told[0] as Told).at).toBeGreaterThan(500 * (i + 1) - 250);
      }
      expect(told.at(-1)).toMatchObject({ webhookId: id, output: [expect.stringMatching(/^http/)] });
      // nothing comes after it
      const late = await Promise.race([listener.next(), new Promise((resolve) => setTimeout(resolve, 1500, 'none'))]);
      expect(late).toBe('none');
    } finally {
      listener.close();
    }
  });

  test('without a filter tell each picture of several when it is there, then all with the end', async () => {
    const listener = await listen();
    try {
      const { key } = await client.webhooks.default.secret.get();
      await createdWith(listener, undefined, { ...LONG, N: [40], num_outputs: 3 });
      const told = await toldOf(listener, key);
      const counts = told.map(({ output }) => output?.length ?? 0);
      expect(counts).toEqual([...new Set(counts)].toSorted());
      expect(counts.at(-1)).toBe(3);
      expect(counts.length).toBeGreaterThan(1);
      expect(decode(await bytesAt(told[0]?.output?.[0] as string)).width).toBe(256);
    } finally {
      listener.close();
    }
  });

  test('are called for what was asked: the start alone, or nothing', async () => {
    const listener = await listen();
    try {
      await client.wait(await createdWith(listener, [], APPLE), { interval: 50 });
      const started = await createdWith(listener, ['start'], APPLE);
      expect((started as typeof started & { warnings: string[] }).warnings).toEqual([]);
      await client.wait(started, { interval: 50 });
      const last = await createdWith(listener, ['completed'], APPLE);
      expect(JSON.parse((await listener.next()).body)).toMatchObject({ id: started.id, status: 'processing' });
      expect(JSON.parse((await listener.next()).body)).toMatchObject({ id: last.id, status: 'succeeded' });
    } finally {
      listener.close();
    }
  });

  test('that are not answered hold up neither the picture nor its end', async () => {
    const listener = await listen(['never', 204]);
    try {
      const made = await createdWith(listener, ['start', 'logs', 'completed'], APPLE);
      const begin = Date.now();
      expect(JSON.parse((await listener.next()).body)).toMatchObject({ id: made.id, status: 'processing' });
      expect(JSON.parse((await listener.next()).body)).toMatchObject({ id: made.id, status: 'succeeded' });
      expect(Date.now() - begin).toBeLessThan(10_000);
      const { webhook } = await getJob(rig.service, made.id);
      expect(webhook).toMatchObject({ tries: 1 });
    } finally {
      listener.close();
    }
  });

  test('a delivery passes the client’s own verifier, is tried again after a failure, and has one id', async () => {
    const listener = await listen([500, 204]);
    try {
      const { id } = await client.predictions.create({
        model,
        input: APPLE,
        webhook: listener.url,
        webhook_events_filter: ['completed'],
      });
      const { key } = await client.webhooks.default.secret.get();
      const first = await listener.next();
      expect(await validateWebhook(asRequest(first), key)).toBe(true);
      expect(await validateWebhook(asRequest({ ...first, body: first.body.replace('succeeded', 'failed') }), key)).toBe(
        false,
      );
      expect(JSON.parse(first.body)).toMatchObject({ id, status: 'succeeded' });
      const { key: newKey } = (await (await client.request('/webhooks/default/secret', { method: 'POST' })).json()) as {
        key: string;
      };
      expect(newKey).not.toBe(key);
      const second = await listener.next();
      expect(second.headers['webhook-id']).toBe(first.headers['webhook-id']);
      // replaced between the tries: for a day both verify
      for (const secret of [key, newKey]) expect(await validateWebhook(asRequest(second), secret)).toBe(true);
      expect(await client.webhooks.default.secret.get()).toEqual({ key: newKey });
    } finally {
      listener.close();
    }
  });
});
