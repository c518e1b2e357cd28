/** Watchers of a job, each a WebSocket that its object holds, as their clients see them. */
import { evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import { appendEvents } from '../../durable-objects/job/event-tables.ts';
import type { JobObject } from '../../durable-objects/job.ts';
import { newJobId } from '../../src/account/job-id.ts';
import {
  ACK_BYTES,
  ACK_MS,
  IN_FLIGHT_BYTES,
  inFlight,
  MAX_WATCHERS,
  PING,
  type Place,
  PONG,
  STALLED_MS,
  watchRequest,
} from '../../src/job/watching.ts';
import { call, createJob, SMALL, watchAll } from './call.ts';
import { enterJob } from './enter.ts';

const APPLE = { prompt: 'a red apple', ...SMALL, preset: '7x', seed: 7 };
/** Runs for longer than a test. */
const LONG = { prompt: 'a fox', ...SMALL, N: [900], e: [1] };
const PICTURE_BYTES = 400_000;

const stubOf = (id: string) => env.JOBS.getByName(id) as unknown as DurableObjectStub<JobObject>;

/** A reader of a response's text as it comes, without the long runs of pictures, and the ids in it. */
function reading(response: Response) {
  let text = '';
  let length = 0;
  const add = (value: string): void => {
    length += value.length;
    text += value.replaceAll(/A{9,}/g, '');
  };
  const reader = (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader();
  return {
    /** resolves at the end of the stream */
    async all(): Promise<void> {
      for (let next = await reader.read(); !next.done; next = await reader.read()) add(next.value);
    },
    async next(): Promise<string> {
      const { value = '' } = await reader.read();
      add(value);
      return value;
    },
    ids: () => [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id)),
    text: () => text,
    length: () => length,
    leave: () => reader.cancel(),
  };
}

const open = async (id: string, after = 0, query = '') => {
  const response = await call(`/v1/jobs/${id}/events${query}`, {
    headers: after ? { 'last-event-id': String(after) } : {},
  });
  if (response.status !== 200) throw new Error(`no events: ${response.status}`);
  return reading(response);
};

const places = (id: string): Promise<readonly Place[]> =>
  runInDurableObject(stubOf(id), (_, state) =>
    state.getWebSockets().map((socket) => socket.deserializeAttachment() as Place),
  );
const inFlightOf = async (id: string): Promise<number> =>
  (await places(id)).reduce((sum, place) => sum + inFlight(place), 0);

/** Pictures as large as they may be, stored beside what the job itself stores. */
const addPictures = (id: string, count: number): Promise<void> =>
  runInDurableObject(stubOf(id), ({ rows }) => {
    for (let i = 0; i < count; i++) {
      const data = { stage: 1, format: 'webp', width: 8, height: 8, b64_json: 'A'.repeat(PICTURE_BYTES) } as const;
      appendEvents(rows, [{ type: 'preview', data }], Date.now());
    }
  });

const cancel = (id: string) => call(`/v1/jobs/${id}/cancel`, { method: 'POST' });

const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1);

/** Lets every watcher that has something in flight look as if it had taken nothing for 30 s. */
const stall = (id: string): Promise<void> =>
  runInDurableObject(stubOf(id), (_, state) => {
    for (const socket of state.getWebSockets()) {
      const place = socket.deserializeAttachment() as Place;
      socket.serializeAttachment({ ...place, since: place.since - STALLED_MS });
    }
  });

describe('many watchers of one job', () => {
  test('of twenty, eight read nothing: the others get everything, in flight are never more than 8 MiB', async () => {
    const { id } = await createJob(LONG);
    await addPictures(id, 5);
    const watchers = await Promise.all(Array.from({ length: 20 }, () => open(id)));
    const [slow, quick] = [watchers.slice(0, 8), watchers.slice(8)];
    let most = await inFlightOf(id);
    let isOver = false;
    const measured = (async () => {
      while (!isOver) {
        most = Math.max(most, await inFlightOf(id));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    const read = Promise.all(quick.map((watcher) => watcher.all()));
    await expect.poll(() => quick.every((one) => one.length() > 5 * PICTURE_BYTES), { timeout: 20_000 }).toBe(true);
    await addPictures(id, 5);
    await cancel(id);
    await read;
    isOver = true;
    await measured;

    const last = quick[0]?.ids().length ?? 0;
    for (const one of quick) {
      expect(one.ids()).toEqual(upTo(last));
      expect(one.length()).toBeGreaterThan(10 * PICTURE_BYTES);
      expect(one.text()).toMatch(/event: cancelled\n.*\n\n$/);
    }
    console.log(`most in flight over twenty watchers: ${most} bytes`);
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(IN_FLIGHT_BYTES);
    // those that read later still get everything
    await Promise.all(slow.map((watcher) => watcher.all()));
    for (const one of slow) expect(one.ids()).toEqual(upTo(last));
  });

  test('ninety that read nothing hold no more than 8 MiB, and one that reads gets everything', async () => {
    const { id } = await createJob(LONG);
    await addPictures(id, 5);
    for (let i = 0; i < 90; i++) await open(id);
    const held = await inFlightOf(id);
    console.log(`in flight over ninety watchers: ${held} bytes, ${(await places(id)).length} of them left`);
    expect(held).toBeGreaterThan(IN_FLIGHT_BYTES / 2);
    expect(held).toBeLessThanOrEqual(IN_FLIGHT_BYTES);
    const reader = await open(id);
    const read = reader.all();
    await expect.poll(() => reader.length() > 5 * PICTURE_BYTES, { timeout: 20_000 }).toBe(true);
    expect(await inFlightOf(id)).toBeLessThanOrEqual(IN_FLIGHT_BYTES);
    await cancel(id);
    await read;
    expect(reader.ids()).toEqual(upTo(reader.ids().length));
  });

  test('more than there is room for are refused, with when to come again', async () => {
    const { id } = await createJob(LONG);
    const sockets = await Promise.all(
      Array.from({ length: MAX_WATCHERS }, () =>
        stubOf(id).fetch(watchRequest({ owner: null, mode: 'events', after: 0, thumbnails: false })),
      ),
    );
    expect(new Set(sockets.map(({ status }) => status))).toEqual(new Set([101]));
    const refused = await call(`/v1/jobs/${id}/events`);
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '10']);
    expect(await refused.json()).toMatchObject({ code: 'too_many_watchers' });
    expect((await call(`/v1/jobs/${id}?wait=1`)).status).toBe(429);
    await cancel(id);
  });

  test('one that takes nothing for 30 s is cut, and goes on with every event once', async () => {
    const { id } = await createJob(LONG);
    await addPictures(id, 3);
    const reader = await open(id);
    expect((await inFlightOf(id)) > 0).toBe(true);
    await stall(id);
    await cancel(id);
    expect(await places(id)).toEqual([]);
    // what came before the cut, up to a whole event; then the stream ends
    await reader.all();
    const seen = reader.ids();
    expect(reader.text()).not.toContain('event: cancelled');
    expect(reader.text()).toMatch(/(^|\n\n)$/);
    const again = await open(id, seen.at(-1) ?? 0);
    await again.all();
    const ids = [...seen, ...again.ids()];
    expect(ids).toEqual(upTo(ids.length));
    expect(again.text()).toContain('event: cancelled');
  });

  test('a door whose client reads slowly opens again by itself, since its client cannot', async () => {
    const body = JSON.stringify({ prompt: 'a fox', size: '256x256', stream: true, ralu: { N: [900], e: [1] } });
    const headers = { 'content-type': 'application/json', 'idempotency-key': crypto.randomUUID() };
    const response = await call('/v1/images/generations', { method: 'POST', headers, body });
    const id = response.headers.get('x-ralu-job-id') as string;
    const reader = reading(response);
    while (!reader.text().includes('event: ralu.step')) await reader.next();
    await expect.poll(async () => (await inFlightOf(id)) > 0).toBe(true);
    await stall(id);
    await cancel(id);
    expect(await places(id)).toEqual([]);
    await reader.all();
    const steps = [...reader.text().matchAll(/"step":(\d+),/g)].map(([, step]) => Number(step));
    expect(steps).toEqual([...new Set(steps)].sort((a, b) => a - b));
    expect(reader.text()).toMatch(/event: error\n.*cancel.*\n\n$/);
  });
});

describe('a watcher', () => {
  test('sees steps rise: those that are stored with an id, the others without', async () => {
    const { id } = await createJob({ ...APPLE, preset: 'plain' });
    const events = await watchAll(id);
    const steps = events.flatMap((event) => (event.type === 'step' ? [event.data.step] : []));
    expect(steps).toEqual(upTo(50));
    const stored = events.filter((event) => event.type === 'step' && event.id !== null);
    expect(stored.length).toBeLessThanOrEqual(4);
    expect(stored.at(-1)?.data).toMatchObject({ step: 50 });
    expect((await watchAll(id)).filter(({ type }) => type === 'step')).toEqual(stored);
  });

  test('who comes in the middle of a stage hears of the newest step at once', async () => {
    const { id } = await createJob(LONG);
    const first = await open(id);
    while (!first.text().includes('"step":20,')) await first.next();
    const second = await open(id);
    while (!second.text().includes('event: step')) await second.next();
    const step = Number(/"step":(\d+),/.exec(second.text())?.[1]);
    expect(step).toBeGreaterThanOrEqual(15);
    await cancel(id);
    await Promise.all([first.all(), second.all()]);
  });

  test('that takes a little at a time, and is never without, is known to take it', async () => {
    const { id } = await createJob(LONG);
    // from here on steps are slow
    const early = await open(id);
    while (!early.text().includes('"step":150,')) await early.next();
    await early.leave();
    // thumbnails are more than a little
    const reader = await open(id, 0, '?thumbnails=false');
    const until = Date.now() + ACK_MS + 2000;
    let acked = 0;
    while (acked === 0 && Date.now() < until) {
      await reader.next();
      acked = (await places(id)).find(({ sent }) => sent > 0)?.acked ?? 0;
    }
    await cancel(id);
    expect(acked).toBeGreaterThan(0);
    // else it would have been told for that alone
    expect(acked).toBeLessThan(ACK_BYTES);
    await reader.all();
    expect(reader.text()).toContain('event: cancelled');
  });

  test('is shown thumbnails of each stage, which are stored nowhere, unless it wants none', async () => {
    const { id } = await createJob({ ...LONG, N: [60] });
    const [one, other] = [await open(id), await open(id, 0, '?thumbnails=false')];
    await Promise.all([one.all(), other.all()]);
    const shown = [...one.text().matchAll(/(id: \d+\n)?event: thumbnail\ndata: (.*)/g)];
    expect(shown.length).toBeGreaterThan(1);
    const steps = shown.map(([, seq, data]) => {
      expect(seq).toBeUndefined();
      const { stage, step, format, width, height, b64_json } = JSON.parse(data as string);
      expect([stage, format]).toEqual([1, 'webp']);
      expect(Math.max(width, height)).toBeLessThanOrEqual(96);
      expect(atob(b64_json).slice(8, 12)).toBe('WEBP');
      return step as number;
    });
    expect(steps).toEqual([...new Set(steps)].toSorted((a, b) => a - b));
    for (const text of [other.text(), (await watchAll(id)).map(({ type }) => type).join()])
      expect(text).not.toContain('thumbnail');
    expect(other.ids()).toEqual(one.ids());
  });

  test('is shown the newest thumbnail when it comes in the middle of a stage', async () => {
    const { id } = await createJob(LONG);
    const one = await open(id);
    while (!one.text().includes('event: thumbnail')) await one.next();
    const late = await open(id);
    while (!late.text().includes('event: thumbnail')) await late.next();
    const stepIn = (text: string) => Number(/event: thumbnail\ndata: .*?"step":(\d+)/.exec(text)?.[1]);
    expect(stepIn(late.text())).toBeGreaterThanOrEqual(stepIn(one.text()));
    await cancel(id);
    await Promise.all([one.all(), late.all()]);
  });

  test('who leaves is let go', async () => {
    const { id } = await createJob(LONG);
    const [one, other] = [await open(id), await open(id)];
    await one.next();
    expect(await places(id)).toHaveLength(2);
    await one.leave();
    await expect.poll(async () => (await places(id)).length).toBe(1);
    await cancel(id);
    await other.all();
    await expect.poll(async () => (await places(id)).length).toBe(0);
  });

  test('sees its stream end when the job is erased', async () => {
    const { id } = await createJob(LONG);
    const reader = await open(id);
    const read = reader.all();
    expect((await call(`/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(204);
    await read;
    expect(reader.text()).toMatch(/event: cancelled\n.*\n\n$/);
  });

  test('of another version of the protocol is told so', async () => {
    const { id } = await createJob(APPLE);
    const request = new Request('https://job/watch?version=0&mode=events&after=0', {
      headers: { upgrade: 'websocket' },
    });
    expect((await stubOf(id).fetch(request)).status).toBe(426);
    await watchAll(id);
  });
});

describe('an object that hibernates', () => {
  /** A job of which nothing is computed, because there is no stage server until its object wakes. */
  async function waitingJob(): Promise<string> {
    const made = await createJob(APPLE);
    const row = await runInDurableObject(stubOf(made.id), ({ rows }) => rows.record());
    if (!row) throw new Error('no row');
    const id = await newJobId(env.SIGNING_SECRET);
    await enterJob(row.account, id);
    await runInDurableObject(stubOf(id), async (instance) => {
      Object.defineProperty(instance, 'env', { value: { ...env, BACKENDS: '[]' }, configurable: true });
      const { account, request, plan } = row;
      await instance.create({ id, account, request, plan, deadlineSeconds: null, webhook: null });
    });
    await watchAll(made.id);
    await expect.poll(async () => (await call(`/v1/jobs/${id}`)).status).toBe(200);
    return id;
  }

  test('wakes for what happens, and tells those who watched before over the same sockets', async () => {
    const id = await waitingJob();
    const reader = await open(id);
    await reader.next();
    const waited = call(`/v1/jobs/${id}?wait=50`);
    await expect.poll(async () => (await places(id)).map(({ mode }) => mode).sort()).toEqual(['end', 'events']);
    const before = await places(id);
    await evictDurableObject(stubOf(id));
    expect((await places(id)).map(({ since }) => since)).toEqual(before.map(({ since }) => since));
    await reader.all();
    expect(reader.ids()).toEqual(upTo(reader.ids().length));
    expect(reader.text()).toMatch(/event: done\n.*\n\n$/);
    expect(await (await waited).json()).toMatchObject({ id, status: 'done' });
  });

  test('answers for its life while it sleeps', async () => {
    const id = await waitingJob();
    const wish = { owner: null, mode: 'end', after: 0, thumbnails: false } as const;
    const socket = (await stubOf(id).fetch(watchRequest(wish))).webSocket as WebSocket;
    const answered = new Promise((resolve) =>
      socket.addEventListener('message', ({ data }) => data === PONG && resolve(data)),
    );
    socket.accept();
    await evictDurableObject(stubOf(id));
    socket.send(PING);
    expect(await answered).toBe(PONG);
    socket.close(1000);
    await cancel(id);
  });

  test('and is lost instead: the Worker opens other sockets, and every event comes once', async () => {
    const id = await waitingJob();
    const reader = await open(id);
    await reader.next();
    const waited = call(`/v1/jobs/${id}?wait=50`);
    await expect.poll(async () => (await places(id)).length).toBe(2);
    await evictDurableObject(stubOf(id), { webSockets: 'close' });
    await reader.all();
    expect(reader.ids()).toEqual(upTo(reader.ids().length));
    expect(reader.text()).toMatch(/event: done\n.*\n\n$/);
    expect(await (await waited).json()).toMatchObject({ id, status: 'done' });
  });

  test('stays so for one who waits: until the end nothing is sent, and time runs out in the Worker', async () => {
    const { id } = await createJob(LONG);
    const begin = Date.now();
    const waited = call(`/v1/jobs/${id}?wait=1`);
    await expect.poll(async () => (await places(id)).map(({ mode, sent }) => [mode, sent])).toEqual([['end', 0]]);
    expect(await (await waited).json()).toMatchObject({ id, status: 'running' });
    expect(Date.now() - begin).toBeLessThan(2000);
    await expect.poll(async () => (await places(id)).length).toBe(0);
    await cancel(id);
    const ended = await (await call(`/v1/jobs/${id}?wait=50`)).json();
    expect(ended).toMatchObject({ id, status: 'cancelled' });
  });
});
