/** Replicate's own client against the running stack. */
import { decode } from 'fast-png';
import Replicate, { validateWebhook } from 'replicate';
import { beforeAll, describe, expect, test } from 'vitest';
import { getJob } from '../../scripts/generate/client.ts';
import { countedFetch, type Door, listen, openDoor, openPoorDoor, type Received, until } from './doors.ts';

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
    const response = await client.request('/predictions', {
      method: 'POST',
      // others use the server too: with a second alone the job may not be let in
      headers: { 'Cancel-After': '3s' },
      data: { version: model, input: LONG },
    });
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

describe('webhooks', () => {
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
