/** What a fleet knows of its servers over time. The far side is a real HTTP server; the clock is the test's. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { type AnswerCache, openFleet } from '../../src/fleet/fleet.ts';
import { memoryCache } from './cache.ts';
import { servedFacts } from './servers.ts';

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

/** Answers `GET …/v1/models` with the digest it has at the moment, or with a 502 where that is null. */
async function startSpeaker(paths: readonly string[] = ['/v1/models']) {
  const speaker = { digest: 'first' as string | null, asked: [] as string[], tokens: [] as unknown[], url: '' };
  const server = createServer((request, response) => {
    speaker.asked.push(request.url ?? '');
    speaker.tokens.push(request.headers.authorization);
    if (speaker.digest === null || !paths.includes(request.url ?? '')) return void response.writeHead(502).end();
    const models = [servedFacts({ digest: speaker.digest, card: request.url as string })];
    response.end(JSON.stringify({ contract: { version: 2, features: ['account_tag'] }, models }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(() => new Promise((resolve) => server.close(resolve)));
  speaker.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return speaker;
}

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** A fleet of one server, and its clock. */
async function fleetOfOne() {
  const speaker = await startSpeaker();
  const time = { now: 1_000 * DAY };
  const cache = memoryCache(() => time.now);
  const BACKENDS = JSON.stringify([{ id: 'gpu-1', url: speaker.url }]);
  const open = () => openFleet({ BACKENDS }, cache, () => time.now);
  const knows = async (fleet = open()) => {
    const [server] = await fleet.servers();
    return { digest: server?.list?.models[0]?.digest ?? null, fault: server?.fault ?? null };
  };
  return { speaker, time, knows };
}

describe('what a server says', () => {
  test('is asked for once a minute, by whoever opens the fleet', async () => {
    const { speaker, time, knows } = await fleetOfOne();
    expect(await knows()).toEqual({ digest: 'first', fault: null });
    speaker.digest = 'second';
    time.now += MINUTE - 1;
    expect(await knows()).toEqual({ digest: 'first', fault: null });
    expect(speaker.asked).toHaveLength(1);
    time.now += 1;
    expect(await knows()).toEqual({ digest: 'second', fault: null });
    expect(speaker.asked).toHaveLength(2);
  });

  test('is kept for a day while it does not answer, with the reason', async () => {
    const { speaker, time, knows } = await fleetOfOne();
    await knows();
    speaker.digest = null;
    for (const age of [MINUTE, DAY / 2, DAY - 1]) {
      time.now = 1_000 * DAY + age;
      expect(await knows()).toEqual({ digest: 'first', fault: 'answered 502' });
    }
    time.now = 1_001 * DAY;
    expect(await knows()).toEqual({ digest: null, fault: 'answered 502' });
    speaker.digest = 'back';
    expect(await knows()).toEqual({ digest: 'back', fault: null });
  });

  test('is asked for anew when the clock has stepped back, and kept where it does not answer then', async () => {
    const { speaker, time, knows } = await fleetOfOne();
    await knows();
    speaker.digest = null;
    time.now -= DAY / 2;
    expect(await knows()).toEqual({ digest: 'first', fault: 'answered 502' });
    speaker.digest = 'second';
    expect(await knows()).toEqual({ digest: 'second', fault: null });
    expect(speaker.asked).toHaveLength(3);
  });

  test('is used where it cannot be kept', async () => {
    const speaker = await startSpeaker();
    const forgets: AnswerCache = { match: async () => undefined, put: () => Promise.reject(new Error('full')) };
    const fleet = openFleet({ BACKENDS: JSON.stringify([{ id: 'a', url: speaker.url }]) }, forgets, Date.now);
    for (let i = 0; i < 2; i++) expect(await fleet.servers()).toMatchObject([{ list: {}, fault: null }]);
    expect(speaker.asked).toHaveLength(1);
  });

  test('is asked for once by one fleet, however often it is wanted; after a fault not again for ten seconds', async () => {
    const speaker = await startSpeaker();
    const time = { now: 1_000 * DAY };
    const forgets: AnswerCache = { match: async () => undefined, put: async () => undefined };
    const fleet = openFleet({ BACKENDS: JSON.stringify([{ id: 'a', url: speaker.url }]) }, forgets, () => time.now);
    await Promise.all([fleet.servers(), fleet.servers(), fleet.servers()]);
    expect(speaker.asked).toHaveLength(1);
    speaker.digest = null;
    time.now += MINUTE;
    for (const wait of [0, 5_000, 4_999]) {
      time.now += wait;
      expect(await fleet.servers()).toMatchObject([{ fault: 'answered 502' }]);
    }
    expect(speaker.asked).toHaveLength(2);
    speaker.digest = 'back';
    time.now += 1;
    expect((await fleet.servers())[0]?.list?.models[0]?.digest).toBe('back');
    expect(speaker.asked).toHaveLength(3);
    time.now += MINUTE;
    await Promise.all([fleet.servers(), fleet.servers(), fleet.servers()]);
    expect(speaker.asked).toHaveLength(4);
  });

  test('is asked for where the cache fails', async () => {
    const speaker = await startSpeaker();
    const fails = () => Promise.reject(new Error('no cache here'));
    const fleet = openFleet(
      { BACKENDS: JSON.stringify([{ id: 'a', url: speaker.url }]) },
      { match: fails, put: fails },
      Date.now,
    );
    expect(await fleet.servers()).toMatchObject([{ list: {}, fault: null }]);
  });

  test('is not what an earlier build kept in another form', async () => {
    const speaker = await startSpeaker();
    const cache = memoryCache(Date.now);
    const key = new Request(`${speaker.url}/v1/models`);
    const headers = { 'cache-control': 'max-age=100', 'x-stored-at': String(Date.now()) };
    for (const text of ['{"data":[]}', '<html>']) {
      await cache.put(key, new Response(text, { headers }));
      const fleet = openFleet({ BACKENDS: JSON.stringify([{ id: 'a', url: speaker.url }]) }, cache, Date.now);
      expect((await fleet.servers())[0]?.list?.models[0]?.digest).toBe('first');
    }
  });
});

describe('a fleet', () => {
  test('keeps apart what two servers say that share an address behind different bindings', async () => {
    const box = (digest: string) => ({
      fetch: async () => Response.json({ models: [servedFacts({ digest })] }),
    });
    const BACKENDS = JSON.stringify(
      ['A', 'B'].map((binding) => ({ id: binding.toLowerCase(), url: 'http://gpu', binding })),
    );
    const cache = memoryCache(Date.now);
    const env = { BACKENDS, A: box('of a'), B: box('of b') };
    for (let opened = 0; opened < 2; opened++) {
      const servers = await openFleet(env, cache, Date.now).servers();
      expect(servers.map(({ list }) => list?.models[0]?.digest)).toEqual(['of a', 'of b']);
    }
  });

  test('has its servers in the order of the configuration, each with its own token, those of one host apart', async () => {
    const speaker = await startSpeaker(['/a/v1/models', '/b/c/v1/models']);
    const backends = ['/a', '/b/c/', '/d'].map((path, i) => ({ id: `gpu-${i}`, url: speaker.url + path }));
    const env = {
      BACKENDS: JSON.stringify(backends),
      BACKEND_TOKEN_GPU_0: 'zero',
      BACKEND_TOKEN_GPU_1: 'one',
      BACKEND_TOKEN_GPU_2: 'two',
    };
    const fleet = openFleet(env, memoryCache(Date.now), Date.now);
    for (let i = 0; i < 2; i++) {
      const servers = await fleet.servers();
      expect(servers.map(({ backend }) => backend.id)).toEqual(['gpu-0', 'gpu-1', 'gpu-2']);
      expect(servers.map(({ list }) => list?.models[0]?.card)).toEqual(['/a/v1/models', '/b/c/v1/models', undefined]);
      expect(servers.map(({ fault }) => fault)).toEqual([null, null, 'answered 502']);
    }
    expect(new Set(speaker.asked.map((path, i) => `${path} ${speaker.tokens[i]}`))).toEqual(
      new Set(['/a/v1/models Bearer zero', '/b/c/v1/models Bearer one', '/d/v1/models Bearer two']),
    );
    expect(fleet.server('gpu-1')).not.toBe(null);
    expect(fleet.server('gpu-9')).toBe(null);
  });

  test('says why a server is not known: it is gone, or its facts break a rule', async () => {
    const odd = createServer((_, response) => {
      const models = [servedFacts({ sizes: [{ width: 100, height: 64 }] })];
      response.end(JSON.stringify({ models }));
    });
    await new Promise<void>((resolve) => odd.listen(0, '127.0.0.1', resolve));
    stops.push(() => new Promise((resolve) => odd.close(resolve)));
    const backends = [
      { id: 'odd', url: `http://127.0.0.1:${(odd.address() as AddressInfo).port}` },
      { id: 'gone', url: 'http://127.0.0.1:1' },
    ];
    const fleet = openFleet({ BACKENDS: JSON.stringify(backends) }, memoryCache(Date.now), Date.now);
    const [first, second] = await fleet.servers();
    expect(first).toMatchObject({ list: null, fault: expect.stringContaining('multiples of token_pixels') });
    expect(second).toMatchObject({ list: null, fault: expect.stringMatching(/./) });
  });

  test('is none where its configuration is wrong', () => {
    expect(() => openFleet({ BACKENDS: '' }, memoryCache(Date.now), Date.now)).toThrow('BACKENDS is not JSON');
  });
});
