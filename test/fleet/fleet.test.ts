/** What a fleet knows of its servers over time. The far side is a real HTTP server; the clock is the test's. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { type AnswerCache, type Fleet, openFleet } from '../../src/fleet/fleet.ts';
import { makeFleetMemory, pauseAfter } from '../../src/fleet/said.ts';
import { memoryCache } from './cache.ts';
import { servedFacts } from './servers.ts';

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

/** Answers `GET …/v1/models` with the digest it has at the moment, or with a 502 where that is null. */
async function startSpeaker(paths: readonly string[] = ['/v1/models'], afterMs = 0) {
  const speaker = { digest: 'first' as string | null, asked: [] as string[], tokens: [] as unknown[], url: '' };
  const server = createServer((request, response) => {
    speaker.asked.push(request.url ?? '');
    speaker.tokens.push(request.headers.authorization);
    if (speaker.digest === null || !paths.includes(request.url ?? '')) return void response.writeHead(502).end();
    const models = [servedFacts({ digest: speaker.digest, card: request.url as string })];
    const text = JSON.stringify({ contract: { version: 2, features: ['account_tag'] }, models });
    setTimeout(() => response.end(text), afterMs);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(() => new Promise((resolve) => server.close(resolve)));
  speaker.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return speaker;
}

/** Waits until it is so, for two seconds at most. */
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('it did not come to that');
}

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** A server that takes every request and never answers. */
async function startSilent() {
  const silent = { asked: 0, url: '' };
  const server = createServer(() => {
    silent.asked++;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  silent.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return silent;
}

/** A fleet of these servers that many isolates open, the clock they share, and what nobody waits for. */
function sharedFleet(urls: readonly string[]) {
  const time = { now: 1_000 * DAY };
  const cache = memoryCache(() => time.now);
  const pending: Promise<unknown>[] = [];
  const BACKENDS = JSON.stringify(urls.map((url, i) => ({ id: `gpu-${i + 1}`, url })));
  const isolate = (memory = makeFleetMemory()) => {
    const later = (work: Promise<unknown>) => void pending.push(work);
    return openFleet({ BACKENDS }, { cache, clock: () => time.now, memory, later });
  };
  const settled = () => Promise.all(pending.splice(0));
  const knows = async (fleet = isolate()) => {
    const servers = await fleet.servers();
    return servers.map(({ list, fault }) => ({ digest: list?.models[0]?.digest ?? null, fault }));
  };
  return { time, isolate, settled, knows };
}

/** A fleet of one server, and its clock. */
async function fleetOfOne() {
  const speaker = await startSpeaker();
  const { knows, ...shared } = sharedFleet([speaker.url]);
  return { speaker, ...shared, knows: async (fleet = shared.isolate()) => (await knows(fleet))[0] };
}

describe('what a server says', () => {
  test('is asked for once a minute, by whoever opens the fleet; until the answer is there the one before is used', async () => {
    const { speaker, time, knows, settled } = await fleetOfOne();
    expect(await knows()).toEqual({ digest: 'first', fault: null });
    speaker.digest = 'second';
    time.now += MINUTE - 1;
    expect(await knows()).toEqual({ digest: 'first', fault: null });
    expect(speaker.asked).toHaveLength(1);
    time.now += 1;
    expect(await knows()).toEqual({ digest: 'first', fault: null });
    await settled();
    expect(await knows()).toEqual({ digest: 'second', fault: null });
    expect(speaker.asked).toHaveLength(2);
  });

  test('is waited for where what it said is ten minutes old: it may have another build by now', async () => {
    const { speaker, time, knows, isolate } = await fleetOfOne();
    const fleet = isolate();
    await knows(fleet);
    speaker.digest = 'second';
    time.now += 10 * MINUTE;
    expect(await knows(fleet)).toEqual({ digest: 'second', fault: null });
  });

  test('is asked for by one request of an isolate at a time', async () => {
    const { speaker, time, knows, isolate, settled } = await fleetOfOne();
    const memory = makeFleetMemory();
    await knows(isolate(memory));
    time.now += MINUTE;
    await Promise.all(Array.from({ length: 20 }, () => knows(isolate(memory))));
    await settled();
    expect(speaker.asked).toHaveLength(2);
  });

  test('is asked for anew where it is in doubt, and used meanwhile; what was said a moment ago is not', async () => {
    const { speaker, time, knows, isolate, settled } = await fleetOfOne();
    const memory = makeFleetMemory();
    const doubt = () => isolate(memory).doubt('gpu-1');
    doubt(); // nothing is known of it
    await knows(isolate(memory));
    speaker.digest = 'second';
    time.now += 999;
    doubt();
    await knows(isolate(memory));
    await settled();
    expect(speaker.asked).toHaveLength(1);
    time.now += 1;
    doubt();
    expect(await knows(isolate(memory))).toEqual({ digest: 'first', fault: null });
    await settled();
    expect(await knows(isolate(memory))).toEqual({ digest: 'second', fault: null });
    expect(speaker.asked).toHaveLength(2);
    // one that does not answer is left alone as ever
    speaker.digest = null;
    time.now += MINUTE;
    await knows(isolate(memory));
    await settled();
    time.now += 1000;
    doubt();
    await knows(isolate(memory));
    expect(speaker.asked).toHaveLength(3);
  });

  test('is asked for four times a minute at most where somebody hopes for more, however many do, also of one at fault', async () => {
    const { speaker, time, knows, isolate } = await fleetOfOne();
    const memory = makeFleetMemory();
    const hear = () => Promise.all([isolate(memory).hear(['gpu-1', 'nobody']), isolate(memory).hear(['gpu-1'])]);
    await hear();
    speaker.digest = null;
    for (let second = 0; second < 60; second++) {
      time.now += 1000;
      await hear();
    }
    expect(speaker.asked).toHaveLength(5);
    expect(await knows(isolate(memory))).toEqual({ digest: 'first', fault: 'answered 502' });
    speaker.digest = 'mended';
    time.now += 15_000;
    await isolate(memory).hear(['nobody']);
    expect(await knows(isolate(memory))).toEqual({ digest: 'first', fault: 'answered 502' });
    await hear();
    expect(await knows(isolate(memory))).toEqual({ digest: 'mended', fault: null });
    expect(speaker.asked).toHaveLength(6);
  });

  test('is kept for a day while it does not answer, with the reason', async () => {
    const { speaker, time, knows, settled } = await fleetOfOne();
    await knows();
    speaker.digest = null;
    for (const age of [10 * MINUTE, DAY / 2, DAY - 1]) {
      time.now = 1_000 * DAY + age;
      await knows();
      await settled();
      expect(await knows()).toEqual({ digest: 'first', fault: 'answered 502' });
    }
    time.now = 1_001 * DAY;
    expect(await knows()).toEqual({ digest: null, fault: 'answered 502' });
    speaker.digest = 'back';
    time.now += MINUTE;
    expect(await knows()).toEqual({ digest: 'back', fault: null });
  });

  test('is asked for anew when the clock has stepped back, and kept where it does not answer then', async () => {
    const { speaker, time, knows } = await fleetOfOne();
    await knows();
    speaker.digest = null;
    time.now -= DAY / 2;
    expect(await knows()).toEqual({ digest: 'first', fault: 'answered 502' });
    speaker.digest = 'second';
    time.now -= MINUTE;
    expect(await knows()).toEqual({ digest: 'second', fault: null });
    expect(speaker.asked).toHaveLength(3);
  });

  test('is used where it cannot be kept', async () => {
    const speaker = await startSpeaker();
    const forgets: AnswerCache = { match: async () => undefined, put: () => Promise.reject(new Error('full')) };
    const fleet = openFleet(
      { BACKENDS: JSON.stringify([{ id: 'a', url: speaker.url }]) },
      { cache: forgets, clock: Date.now },
    );
    for (let i = 0; i < 2; i++) expect(await fleet.servers()).toMatchObject([{ list: {}, fault: null }]);
    expect(speaker.asked).toHaveLength(1);
  });

  test('is asked for once by one fleet, however often it is wanted; after a fault not again for ten seconds', async () => {
    const speaker = await startSpeaker();
    const time = { now: 1_000 * DAY };
    const forgets: AnswerCache = { match: async () => undefined, put: async () => undefined };
    const fleet = openFleet(
      { BACKENDS: JSON.stringify([{ id: 'a', url: speaker.url }]) },
      { cache: forgets, clock: () => time.now },
    );
    await Promise.all([fleet.servers(), fleet.servers(), fleet.servers()]);
    expect(speaker.asked).toHaveLength(1);
    speaker.digest = null;
    time.now += 10 * MINUTE;
    for (const wait of [0, 5_000, 4_999]) {
      time.now += wait;
      expect(await fleet.servers()).toMatchObject([{ fault: 'answered 502' }]);
    }
    expect(speaker.asked).toHaveLength(2);
    speaker.digest = 'back';
    time.now += 1;
    await fleet.servers();
    await until(() => speaker.asked.length === 3);
    await until(async () => (await fleet.servers())[0]?.list?.models[0]?.digest === 'back');
    expect(speaker.asked).toHaveLength(3);
    time.now += 10 * MINUTE;
    await Promise.all([fleet.servers(), fleet.servers(), fleet.servers()]);
    expect(speaker.asked).toHaveLength(4);
  });

  test('is asked for where the cache fails', async () => {
    const speaker = await startSpeaker();
    const fails = () => Promise.reject(new Error('no cache here'));
    const fleet = openFleet(
      { BACKENDS: JSON.stringify([{ id: 'a', url: speaker.url }]) },
      { cache: { match: fails, put: fails }, clock: Date.now },
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
      const fleet = openFleet(
        { BACKENDS: JSON.stringify([{ id: 'a', url: speaker.url }]) },
        { cache, clock: Date.now },
      );
      expect((await fleet.servers())[0]?.list?.models[0]?.digest).toBe('first');
    }
  });
});

describe('a server that accepts and never answers', () => {
  /** `gpu-1` of these is silent, `gpu-2` answers. */
  async function withSilent() {
    const silent = await startSilent();
    const speaker = await startSpeaker();
    return { silent, speaker, ...sharedFleet([silent.url, speaker.url]) };
  }

  test('is waited for half a second and no longer, once another has answered', async () => {
    const { silent, knows } = await withSilent();
    const began = performance.now();
    expect(await knows()).toEqual([
      { digest: null, fault: 'has not answered yet' },
      { digest: 'first', fault: null },
    ]);
    expect(performance.now() - began).toBeLessThan(2_500);
    expect(silent.asked).toBe(1);
  });

  test('is not waited for by anybody once that is known, nor asked until its pause is over', async () => {
    const { silent, time, knows, isolate, settled } = await withSilent();
    await knows();
    await settled();
    const before = { silent: 1, faults: 1 };
    for (const pause of [10_000]) {
      const memory = makeFleetMemory();
      time.now += pause - 1;
      // an isolate of its own, and one that has heard of it
      for (const fleet of [isolate(), isolate(memory), isolate(memory)])
        expect((await knows(fleet))[0]).toEqual({ digest: null, fault: expect.stringContaining('5 s') });
      expect(silent.asked).toBe(before.silent);
      time.now += 1;
      expect((await knows(isolate(memory)))[1]?.digest).toBe('first');
      expect((await knows(isolate(memory)))[1]?.digest).toBe('first');
      before.silent++;
      await until(() => silent.asked === before.silent);
      await settled();
    }
  }, 30_000);

  test('is left alone for ten seconds, then twice as long each time, and never for more than two minutes', () => {
    expect([1, 2, 3, 4, 5, 6, 99].map(pauseAfter)).toEqual([10_000, 20_000, 40_000, 80_000, 120_000, 120_000, 120_000]);
  });

  test('is waited for where nobody else has what is wanted', async () => {
    const speaker = await startSpeaker();
    const slow = await startSpeaker(['/v1/models'], 900);
    slow.digest = 'wanted';
    const { isolate } = sharedFleet([speaker.url, slow.url]);
    const hasWanted = (servers: Awaited<ReturnType<Fleet['servers']>>) =>
      servers.some(({ list }) => list?.models.some(({ digest }) => digest === 'wanted'));
    const servers = await isolate().servers(hasWanted);
    expect(servers.map(({ list }) => list?.models[0]?.digest)).toEqual(['first', 'wanted']);
  });

  test('that was away is waited for where nobody else is left', async () => {
    const { speaker, time, knows } = await fleetOfOne();
    speaker.digest = null;
    expect(await knows()).toEqual({ digest: null, fault: 'answered 502' });
    speaker.digest = 'back';
    time.now += 10_000;
    expect(await knows()).toEqual({ digest: 'back', fault: null });
  });

  test('that never answered is asked again within five seconds where nobody else is there, however long it was away', async () => {
    const { speaker, time, knows } = await fleetOfOne();
    speaker.digest = null;
    for (let i = 0; i < 10; i++) {
      await knows();
      time.now += 120_000;
    }
    await knows();
    const asked = speaker.asked.length;
    speaker.digest = 'back';
    time.now += 4_999;
    expect(await knows()).toEqual({ digest: null, fault: 'answered 502' });
    expect(speaker.asked.length).toBe(asked);
    time.now += 1;
    expect(await knows()).toEqual({ digest: 'back', fault: null });
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
      const servers = await openFleet(env, { cache, clock: Date.now }).servers();
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
    const fleet = openFleet(env, { cache: memoryCache(Date.now), clock: Date.now });
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
    const fleet = openFleet({ BACKENDS: JSON.stringify(backends) }, { cache: memoryCache(Date.now), clock: Date.now });
    const [first, second] = await fleet.servers();
    expect(first).toMatchObject({ list: null, fault: expect.stringContaining('multiples of token_pixels') });
    expect(second).toMatchObject({ list: null, fault: expect.stringMatching(/./) });
  });

  test('is none where its configuration is wrong', () => {
    expect(() => openFleet({ BACKENDS: '' }, { cache: memoryCache(Date.now), clock: Date.now })).toThrow(
      'BACKENDS is not JSON',
    );
  });
});
