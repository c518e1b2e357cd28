/**
 * What depends on our server's settings and on a model that can be held: the line, orphans, keeping, draining,
 * failures, slow readers.
 */
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { createStageServer, DEFAULT_OPTIONS, type StageServerOptions } from '../../containers/onnx/app.ts';
import type { Model } from '../../containers/onnx/model.ts';
import { type Before, type Calls, CLOSED_FORM_FACTS, closedFormModel } from '../../scripts/local/closed-form-model.ts';
import { type ModelFacts, stageProblem } from '../../src/stage/contract.ts';
import {
  call,
  collect,
  evenSigmas,
  finish,
  freshId,
  messages,
  put,
  type RequestShape,
  readUntil,
  rest,
  stageBody,
} from './requests.ts';
import { startServer } from './start.ts';

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

async function start(options: Partial<StageServerOptions> = {}, before?: Before) {
  const { model, calls } = closedFormModel(before ? { before } : {});
  const started = await startServer([model], options);
  stops.push(started.stop);
  return { ...started, model, calls };
}

const body = (shape: RequestShape = {}) => stageBody(CLOSED_FORM_FACTS, shape);

/** A gate that calls wait at: each `open(n)` lets n more calls through, `openForGood` all. */
function gate(kind: 'encodeText' | 'velocity' | 'decode' = 'velocity') {
  let free = 0;
  const waiting: (() => void)[] = [];
  return {
    before: (called: string): Promise<void> | void => {
      if (called !== kind) return;
      if (free > 0) {
        free -= 1;
        return;
      }
      return new Promise((resolve) => waiting.push(resolve));
    },
    open(count: number) {
      for (let i = 0; i < count; i++) {
        const next = waiting.shift();
        if (next) next();
        else free += 1;
      }
    },
    openForGood() {
      free = Number.POSITIVE_INFINITY;
      for (const next of waiting.splice(0)) next();
    },
  };
}

/** A server whose model waits at a gate before each velocity, which takes 20 ms. */
async function startSlow() {
  const { before, open, openForGood } = gate();
  const server = await start({}, async (called) => {
    await before(called);
    if (called === 'velocity') await sleep(20);
  });
  return { server, open, openForGood };
}

const health = async (server: { url: string; token: string }) => {
  const response = await call(server, 'GET', 'healthz');
  return {
    code: response.status,
    ...((await response.json()) as { status: string; queue: number; eta_ms: number; version: string }),
  };
};

describe('the line', () => {
  test('who waits is told its place and the time ahead, again when it moves up, and again as a sign of life', async () => {
    const { before, open, openForGood } = gate();
    const server = await start({ aliveMs: 40 }, before);
    const running = messages(await put(server, freshId(), body({ sigmas: evenSigmas(3) })));
    open(1);
    await readUntil(running, 'step');
    const second = messages(await put(server, freshId(), body()));
    const third = messages(await put(server, freshId(), body()));
    expect((await second.next()).value?.event).toEqual({ event: 'queued', position: 1, eta_ms: expect.any(Number) });
    expect((await third.next()).value?.event).toMatchObject({ event: 'queued', position: 2 });
    expect((await third.next()).value?.event).toMatchObject({ event: 'queued', position: 2 });
    expect(await health(server)).toMatchObject({ code: 200, status: 'busy', queue: 2 });
    openForGood();
    const told = (await rest(third)).map(({ event }) => event);
    expect(told).toContainEqual({ event: 'queued', position: 1, eta_ms: expect.any(Number) });
    expect(told.at(-1)?.event).toBe('done');
    expect((await rest(second)).at(-1)?.event.event).toBe('done');
    expect(await health(server)).toMatchObject({ code: 200, status: 'ready', queue: 0, eta_ms: 0 });
  });

  test('the time ahead is the steps still to do at the pace measured', async () => {
    const { server, open, openForGood } = await startSlow();
    const running = messages(await put(server, freshId(), body({ sigmas: evenSigmas(10) })));
    open(1);
    await readUntil(running, 'step');
    const { eta_ms } = await health(server);
    const waiting = await messages(await put(server, freshId(), body())).next();
    expect(waiting.value?.event).toMatchObject({ event: 'queued', eta_ms });
    if (waiting.value?.event.event === 'queued') expect(waiting.value.event.eta_ms).toBeGreaterThanOrEqual(9 * 15);
    openForGood();
  });

  test('the time ahead leaves out steps that are forecast, and the pace is that of evaluations', async () => {
    const { server, open, openForGood } = await startSlow();
    const cache = { kind: 'taylor_velocity', interval: 10, order: 1, warmup: 1 };
    const running = messages(await put(server, freshId(), body({ sigmas: evenSigmas(12), options: { cache } })));
    open(1);
    // the first step is evaluated, the nine after it are forecast, then one more is evaluated
    const { event } = await readUntil(running, 'step');
    for (let step = 2; step <= 10; step++) await readUntil(running, 'step');
    const { eta_ms } = await health(server);
    if (event.event === 'step') expect(Math.abs(eta_ms - event.ms)).toBeLessThanOrEqual(1);
    expect(eta_ms).toBeGreaterThanOrEqual(15);
    openForGood();
    expect((await readUntil(running, 'done')).event).toMatchObject({ steps_done: 12, evaluations: 2 });
  });

  test('is first come, first served, one at a time', async () => {
    const { before, openForGood } = gate();
    const server = await start({}, before);
    const ids = [0, 1, 2, 3].map(freshId);
    const responses: Response[] = [];
    for (const id of ids) responses.push(await put(server, id, body()));
    await vi.waitFor(() => expect(server.calls.velocity).toBe(1));
    openForGood();
    await Promise.all(responses.map(finish));
    expect(server.logged.map(({ id }) => id)).toEqual(ids);
  });

  test('when it is full, says 503 and when to come again; bad requests still learn what is wrong, known stages still attach', async () => {
    const { before, openForGood } = gate();
    const server = await start({ queue: 1 }, before);
    const [id, request] = [freshId(), body()];
    const first = await put(server, id, request);
    const second = await put(server, freshId(), body());
    const third = await put(server, freshId(), body());
    expect(third.status).toBe(503);
    expect(Number(third.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(stageProblem.parse(await third.json()).code).toBe('queue_full');
    expect((await put(server, freshId(), body({ sigmas: [1] }))).status).toBe(422);
    const attached = await put(server, id, request);
    openForGood();
    for (const response of [first, second, attached]) expect((await finish(response)).done.steps_done).toBe(2);
  });

  test('who is cancelled while it waits never computes, and those behind move up', async () => {
    const { before, openForGood } = gate();
    const server = await start({}, before);
    const first = await put(server, freshId(), body());
    const id = freshId();
    const second = messages(await put(server, id, body()));
    const third = messages(await put(server, freshId(), body()));
    await second.next();
    await third.next();
    expect((await call(server, 'DELETE', `v1/stages/${id}`)).status).toBe(204);
    expect((await second.next()).value?.event).toMatchObject({ event: 'error', code: 'cancelled' });
    expect((await third.next()).value?.event).toMatchObject({ event: 'queued', position: 1 });
    openForGood();
    await finish(first);
    await readUntil(third, 'done');
    expect(server.calls.velocity).toBe(4);
  });
});

describe('cancelling', () => {
  test('stops within one step', async () => {
    const { before, open } = gate();
    const server = await start({}, before);
    const id = freshId();
    const reader = messages(await put(server, id, body({ sigmas: evenSigmas(20) })));
    open(2);
    await readUntil(reader, 'step');
    await vi.waitFor(() => expect(server.calls.velocity).toBe(3));
    await call(server, 'DELETE', `v1/stages/${id}`);
    await readUntil(reader, 'error');
    open(10);
    await vi.waitFor(async () => expect(await health(server)).toMatchObject({ status: 'ready' }));
    expect(server.calls).toMatchObject({ velocity: 3, decode: 0 });
    expect(server.logged.at(-1)).toMatchObject({ event: 'stage', id, outcome: 'cancelled', steps: 20 });
  });

  test.each([
    ['before decoding', 'velocity', { velocity: 1, decode: 0 }],
    ['before encoding', 'decode', { velocity: 1, decode: 1 }],
  ] as const)('during the last call %s, goes no further', async (_, kind, expected) => {
    const { before, openForGood } = gate(kind);
    const server = await start({}, before);
    const id = freshId();
    const reader = messages(
      await put(server, id, body({ layout: 'full', sigmas: [1, 0], options: { decode: 'image' } })),
    );
    await vi.waitFor(() => expect(server.calls[kind]).toBe(1));
    await call(server, 'DELETE', `v1/stages/${id}`);
    openForGood();
    await readUntil(reader, 'error');
    await vi.waitFor(async () => expect(await health(server)).toMatchObject({ status: 'ready' }));
    expect(server.calls).toMatchObject(expected);
  });

  test('during its very last step, it is cancelled and not also done', async () => {
    const { before, openForGood } = gate();
    const server = await start({}, before);
    const id = freshId();
    const reader = messages(await put(server, id, body({ sigmas: [1, 0] })));
    await vi.waitFor(() => expect(server.calls.velocity).toBe(1));
    await call(server, 'DELETE', `v1/stages/${id}`);
    openForGood();
    expect((await rest(reader)).map(({ event }) => event.event)).toEqual(['error']);
    await vi.waitFor(async () => expect(await health(server)).toMatchObject({ status: 'ready' }));
    expect(server.logged.map(({ outcome }) => outcome)).toEqual(['cancelled']);
  });

  test('frees the id at once: the same request runs again while the old step still computes', async () => {
    const { before, openForGood } = gate();
    const server = await start({}, before);
    const [id, request] = [freshId(), body()];
    const first = messages(await put(server, id, request));
    await vi.waitFor(() => expect(server.calls.velocity).toBe(1));
    await call(server, 'DELETE', `v1/stages/${id}`);
    const again = await put(server, id, request);
    openForGood();
    expect((await readUntil(first, 'error')).event).toMatchObject({ code: 'cancelled' });
    expect((await finish(again)).done.steps_done).toBe(2);
  });
});

describe('a late preview', () => {
  const late = (more: Readonly<Record<string, unknown>> = {}) =>
    body({
      sigmas: [1, 0.5],
      options: {
        decode: 'clean',
        rgb: false,
        preview: { format: 'png', longest_side: 64 },
        late_preview: true,
        ...more,
      },
    });
  const names = (all: readonly { readonly event: { readonly event: string } }[]) => all.map(({ event }) => event.event);
  /** A stage whose result has come and whose picture waits to be decoded. */
  const atItsPicture = async (options: Partial<StageServerOptions> = {}, more = {}) => {
    const { before, openForGood } = gate('decode');
    const server = await start(options, before);
    const [id, request] = [freshId(), late(more)];
    const reader = messages(await put(server, id, request));
    expect((await readUntil(reader, 'done')).tensors).toHaveProperty('latents');
    await vi.waitFor(() => expect(server.calls.decode).toBe(1));
    return { server, id, request, reader, openForGood };
  };

  test('comes when it is made, and the stage computes until then: others wait', async () => {
    const { server, reader, openForGood } = await atItsPicture();
    expect(await health(server)).toMatchObject({ status: 'busy', queue: 0 });
    const next = messages(await put(server, freshId(), body()));
    expect((await next.next()).value?.event).toMatchObject({ event: 'queued', position: 1 });
    openForGood();
    expect(names(await rest(reader))).toEqual(['preview']);
    expect(names(await rest(next)).at(-1)).toBe('done');
    expect(server.logged.map(({ outcome }) => outcome)).toEqual(['done', 'done']);
    expect(server.logged[0]).not.toHaveProperty('preview');
  });

  test('with its pixels in the result is decoded before it', async () => {
    const { before, openForGood } = gate('decode');
    const server = await start({}, before);
    const reader = messages(await put(server, freshId(), late({ rgb: true })));
    await readUntil(reader, 'step');
    await vi.waitFor(() => expect(server.calls.decode).toBe(1));
    openForGood();
    expect(names(await rest(reader))).toEqual(['done', 'preview']);
  });

  test('that fails is an error behind a result that stands: both are kept, and nothing is computed again', async () => {
    const server = await start({}, (called) => {
      if (called === 'decode') throw new Error('out of memory');
    });
    const [id, request] = [freshId(), late()];
    const first = await collect(await put(server, id, request));
    expect(names(first)).toEqual(['step', 'done', 'error']);
    expect(first.at(-1)?.event).toMatchObject({ code: 'model_failed', message: 'the model failed in decode' });
    expect(await collect(await put(server, id, request))).toEqual(first);
    expect(server.calls).toMatchObject({ velocity: 1, decode: 1 });
    const error = 'decode: Error: out of memory';
    expect(server.logged).toMatchObject([{ id, outcome: 'done', preview: 'failed', error }]);
  });

  test('is given up with a DELETE, which forgets the result too', async () => {
    const { server, id, request, reader, openForGood } = await atItsPicture();
    expect((await call(server, 'DELETE', `v1/stages/${id}`)).status).toBe(204);
    expect((await rest(reader)).map(({ event }) => event)).toMatchObject([{ event: 'error', code: 'cancelled' }]);
    openForGood();
    expect((await finish(await put(server, id, request))).behind).not.toBe(null);
    expect(server.calls.velocity).toBe(2);
    expect(server.logged.map(({ outcome }) => outcome)).toEqual(['cancelled', 'done']);
  });

  test('with nobody reading is given up after a while, and the result is there for who comes back', async () => {
    const { server, id, request, reader, openForGood } = await atItsPicture({ orphanMs: 30 });
    await reader.return(undefined);
    await vi.waitFor(() => expect(server.logged).toMatchObject([{ id, outcome: 'done', preview: 'orphaned' }]));
    openForGood();
    const again = await collect(await put(server, id, request));
    expect(again.map(({ event }) => event)).toMatchObject([
      { event: 'step' },
      { event: 'done' },
      { event: 'error', code: 'orphaned' },
    ]);
    expect(server.calls).toMatchObject({ velocity: 1, decode: 1 });
  });

  test('is waited for when the server shuts down, for as long as a stage is', async () => {
    const { server, reader, openForGood } = await atItsPicture({ drainMs: 5000 });
    let isClosed = false;
    const closed = server.server.close().then(() => {
      isClosed = true;
    });
    await sleep(50);
    expect(isClosed).toBe(false);
    openForGood();
    expect(names(await rest(reader))).toEqual(['preview']);
    await closed;
    const slow = await atItsPicture({ drainMs: 30 });
    const ended = slow.server.server.close();
    expect((await rest(slow.reader)).map(({ event }) => event)).toMatchObject([{ event: 'error', code: 'draining' }]);
    expect(slow.server.logged).toMatchObject([{ outcome: 'done', preview: 'drained' }]);
    slow.openForGood();
    await ended;
  });
});

describe('with nobody reading', () => {
  test('a stage stops after a while and is forgotten, so the same request runs again', async () => {
    const server = await start({ orphanMs: 50 }, (called) => (called === 'velocity' ? sleep(5) : undefined));
    const [id, request] = [freshId(), body({ sigmas: evenSigmas(200) })];
    const line = new AbortController();
    await readUntil(messages(await put(server, id, request, line.signal)), 'step');
    line.abort();
    await vi.waitFor(() => expect(server.logged.at(-1)).toMatchObject({ id, outcome: 'orphaned' }));
    expect((await call(server, 'DELETE', `v1/stages/${id}`)).status).toBe(404);
    expect(server.calls.velocity).toBeLessThan(100);
    expect((await put(server, id, body({ sigmas: [1, 0] }))).status).toBe(200);
  });

  test('a waiting stage stops just so', async () => {
    const { before, openForGood } = gate();
    const server = await start({ orphanMs: 30 }, before);
    const first = await put(server, freshId(), body());
    const line = new AbortController();
    await messages(await put(server, freshId(), body(), line.signal)).next();
    line.abort();
    await vi.waitFor(() => expect(server.logged.at(-1)).toMatchObject({ outcome: 'orphaned', steps_done: 0 }));
    openForGood();
    await finish(first);
    expect(server.calls.velocity).toBe(2);
  });

  test('who comes back in time keeps it alive', async () => {
    const { before, open, openForGood } = gate();
    const server = await start({ orphanMs: 80 }, before);
    const [id, request] = [freshId(), body({ sigmas: evenSigmas(3) })];
    const line = new AbortController();
    const reader = messages(await put(server, id, request, line.signal));
    open(1);
    await readUntil(reader, 'step');
    line.abort();
    await sleep(20);
    const back = await put(server, id, request);
    await sleep(120);
    openForGood();
    expect((await finish(back)).done.steps_done).toBe(3);
  });

  test('a client gone before its answer began leaves an orphan like any other', async () => {
    const { before, openForGood } = gate();
    const server = await start({ orphanMs: 20 }, before);
    const request = body();
    for (let i = 0; i < 5; i++) {
      const raw = httpRequest(new URL(`v1/stages/${freshId()}`, server.url), {
        method: 'PUT',
        headers: { authorization: `Bearer ${server.token}`, 'content-length': request.length },
      });
      raw.on('error', () => {});
      raw.end(request, () => raw.destroy());
    }
    // the first takes the runner, where it is held; whichever of them reached the server at all, none is left behind
    await vi.waitFor(() => expect(server.logged.length).toBeGreaterThan(0));
    await sleep(50);
    expect(server.logged.every(({ outcome }) => outcome === 'orphaned')).toBe(true);
    openForGood();
    await vi.waitFor(async () => expect(await health(server)).toMatchObject({ status: 'ready', queue: 0 }));
  });
});

describe('a slow reader', () => {
  test('holds up neither the stage nor other readers, and finds everything when it reads on', async () => {
    const server = await start();
    const [id, request] = [freshId(), body({ layout: 'full', sigmas: evenSigmas(500), options: { decode: 'clean' } })];
    const slow = messages(await put(server, id, request));
    await slow.next();
    const { all } = await finish(await put(server, id, request));
    const late = await rest(slow);
    expect(late.length).toBe(all.length - 1);
    expect(late.at(-1)?.event).toEqual(all.at(-1)?.event);
  });
});

describe('keeping', () => {
  test('a result is forgotten when its time is over', async () => {
    const server = await start({ keepMs: 30 });
    const id = freshId();
    await finish(await put(server, id, body()));
    await vi.waitFor(async () => expect((await call(server, 'DELETE', `v1/stages/${id}`)).status).toBe(404), {
      interval: 50,
    });
  });

  test('the oldest results go first when there are too many bytes of them', async () => {
    const one = body();
    const server = await start({ keepBytes: 5 * one.length });
    const ids = Array.from({ length: 6 }, freshId);
    for (const id of ids) await finish(await put(server, id, one));
    const known = [];
    for (const id of ids) known.push((await call(server, 'DELETE', `v1/stages/${id}`)).status === 204);
    expect(known[0]).toBe(false);
    expect(known.at(-1)).toBe(true);
    expect(known).toEqual(known.toSorted()); // forgotten ones, then kept ones
  });

  test('a kept result is not computed again', async () => {
    const server = await start();
    const id = freshId();
    for (let i = 0; i < 3; i++) await finish(await put(server, id, body()));
    expect(server.calls.velocity).toBe(2);
  });

  test('a text is encoded once for each account, and once for all requests without a tag', async () => {
    const server = await start();
    const send = async (prompt: string, account_tag?: string) =>
      finish(await put(server, freshId(), body({ options: { prompt, ...(account_tag && { account_tag }) } })));
    for (const tag of ['a', 'b', 'a', undefined, 'b', undefined]) await send('red', tag);
    expect(server.calls.encodeText).toBe(3);
    // the same letters cut in another place are another text
    await send('a red', 'x');
    await send('red', 'x-a');
    expect(server.calls.encodeText).toBe(5);
  });

  test('a text is encoded once for all stages of a job', async () => {
    const server = await start();
    for (const prompt of ['red', 'red', 'blue', 'red'])
      await finish(await put(server, freshId(), body({ options: { prompt } })));
    expect(server.calls.encodeText).toBe(2);
  });

  test('a text is forgotten with any stage that used it', async () => {
    const server = await start();
    const red = async (id: string) =>
      (await finish(await put(server, id, body({ options: { prompt: 'red', account_tag: 'a' } })))).done;
    const [first, second] = [freshId(), freshId()];
    expect((await red(first)).encode_text_ms).toBeGreaterThan(0);
    expect((await red(second)).encode_text_ms).toBe(0);
    expect((await call(server, 'DELETE', `v1/stages/${first}`)).status).toBe(204);
    expect((await red(freshId())).encode_text_ms).toBeGreaterThan(0);
    expect(server.calls.encodeText).toBe(2);
  });

  test('a text that nobody has used for as long as results are kept is forgotten', async () => {
    const server = await start({ keepMs: 50 });
    const red = async () =>
      (await finish(await put(server, freshId(), body({ options: { prompt: 'red' } })))).done.encode_text_ms;
    await red();
    await sleep(100);
    expect(await red()).toBeGreaterThan(0);
  });

  test('a result that was put out by newer ones has its text forgotten all the same', async () => {
    const server = await start({ keepBytes: 1 });
    const id = freshId();
    const red = async (of: string) =>
      (await finish(await put(server, of, body({ options: { prompt: 'red' } })))).done.encode_text_ms;
    await red(id);
    expect((await call(server, 'DELETE', `v1/stages/${id}`)).status).toBe(404);
    expect(await red(freshId())).toBeGreaterThan(0);
  });

  test('a text whose encoding a DELETE interrupts is not kept', async () => {
    const { before, open, openForGood } = gate('encodeText');
    const server = await start({}, before);
    const id = freshId();
    const answer = await put(server, id, body());
    await vi.waitFor(() => expect(server.calls.encodeText).toBe(1));
    expect((await call(server, 'DELETE', `v1/stages/${id}`)).status).toBe(204);
    await collect(answer);
    open(1);
    openForGood();
    expect((await finish(await put(server, freshId(), body()))).done.encode_text_ms).toBeGreaterThan(0);
    expect(server.calls.encodeText).toBe(2);
  });
});

describe('failing', () => {
  const failing = (kind: keyof Omit<Calls, 'isClosed'>, error: unknown) => {
    let left = 1;
    return (called: string) => {
      if (called === kind && left-- > 0) throw error;
    };
  };

  test.each([
    ['encodeText', 'text'],
    ['velocity', 'velocity'],
    ['decode', 'decode'],
  ] as const)(
    'a model that throws in %s is told as retryable, never kept, and does not stop the next stage',
    async (kind, part) => {
      const server = await start({}, failing(kind, new Error('out of memory near "a red apple"')));
      const [id, request] = [freshId(), body({ options: { decode: 'clean' } })];
      const last = (await collect(await put(server, id, request))).at(-1);
      expect(last?.event).toEqual({
        event: 'error',
        code: 'model_failed',
        message: `the model failed in ${part}`,
        retryable: true,
      });
      expect(server.logged.at(-1)).toMatchObject({ outcome: 'failed', error: expect.stringContaining(part) });
      if (kind === 'encodeText') expect(JSON.stringify(server.logged)).not.toContain('apple');
      expect((await finish(await put(server, id, request))).done.steps_done).toBe(2);
    },
  );

  test('a model that answers NaN is told as final', async () => {
    const { model } = closedFormModel();
    const broken: Model = { ...model, velocity: async ({ latents }) => latents.map(() => Number.NaN) };
    const server = await startServer([broken]);
    stops.push(server.stop);
    const last = (await collect(await put(server, freshId(), body()))).at(-1);
    expect(last?.event).toMatchObject({ event: 'error', code: 'not_finite', retryable: false });
  });
});

describe('warnings', () => {
  test('name skipped words and the cut, also when the text was remembered', async () => {
    const server = await start();
    for (let i = 0; i < 2; i++) {
      const { done } = await finish(
        await put(server, freshId(), body({ options: { prompt: 'red zzqxv apple apple apple apple apple apple' } })),
      );
      expect(done.warnings).toEqual([expect.stringContaining('zzqxv'), expect.stringContaining('cut')]);
    }
  });
});

const { bodies: BODIES } = DEFAULT_OPTIONS;

/** An upload that says it has `length` bytes and sends `part` of them. `said` is what the server has answered. */
function upload({ url, token }: { readonly url: string; readonly token: string }, length: number, part: Uint8Array) {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let said = '';
  socket.on('data', (chunk) => {
    said += chunk;
  });
  // the server may close while this side still writes
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.write(
    `PUT /v1/stages/${freshId()} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Length: ${length}\r\n\r\n`,
  );
  socket.write(part);
  return { socket, closed, said: () => said };
}

describe('the body', () => {
  test('is refused when it grows over the limit without having said so', async () => {
    const server = await start({ bodies: { ...BODIES, bytes: 1000 } });
    const status = await new Promise((resolve, reject) => {
      const raw = httpRequest(
        new URL(`v1/stages/${freshId()}`, server.url),
        { method: 'PUT', headers: { authorization: `Bearer ${server.token}` } },
        (response) => {
          resolve(response.statusCode);
          raw.destroy();
        },
      );
      raw.on('error', reject);
      raw.write(new Uint8Array(600));
      raw.write(new Uint8Array(600));
    });
    expect(status).toBe(413);
  });

  test('that falls silent, or drips, is let go as transient, and its connection is closed', async () => {
    const silent = await start({ bodies: { ...BODIES, idleMs: 100 } });
    const { said, closed } = upload(silent, 100, Buffer.alloc(8));
    await closed;
    expect(said()).toMatch(/^HTTP\/1\.1 408 /);
    expect(said()).toContain('"broken_body"');
    const slow = await start({ bodies: { ...BODIES, idleMs: 5000, totalMs: 300 } });
    const dripping = upload(slow, 1000, Buffer.alloc(1));
    const drip = setInterval(() => dripping.socket.write(Buffer.alloc(1)), 20);
    await dripping.closed;
    clearInterval(drip);
    expect(dripping.said()).toMatch(/^HTTP\/1\.1 408 /);
  });

  test('is refused as busy where too many are being read, and taken once they are not', async () => {
    const server = await start({ bodies: { ...BODIES, bytes: 40_000, bytesTogether: 40_100 } });
    const { socket } = upload(server, 40_000, Buffer.alloc(8));
    await vi.waitFor(async () => {
      const refused = await put(server, freshId(), body());
      expect(refused.status).toBe(503);
      expect(refused.headers.get('retry-after')).toBe('1');
      expect(stageProblem.parse(await refused.json()).code).toBe('queue_full');
    });
    socket.destroy();
    await vi.waitFor(async () => expect((await put(server, freshId(), body())).status).toBe(200));
  });

  test('of 40 uploads that stop after 8 of 60 MiB, none is kept: 8 are let go, 32 refused, all closed', async () => {
    const server = await start({ bodies: { ...DEFAULT_OPTIONS.bodies, idleMs: 2000 } });
    const part = Buffer.alloc(8 * 1024 * 1024);
    const uploads = Array.from({ length: 40 }, () => upload(server, 60 * 1024 * 1024, part));
    await Promise.all(uploads.map(({ closed }) => closed));
    const codes = uploads.map(({ said }) => Number(said().slice('HTTP/1.1 '.length, 'HTTP/1.1 '.length + 3)));
    expect(codes.filter((code) => code === 408)).toHaveLength(8);
    // a refusal may be lost where the client still writes when its connection is closed
    expect(codes.filter((code) => code === 503 || code === 0)).toHaveLength(32);
    await finish(await put(server, freshId(), body()));
  });
});

describe('the health', () => {
  test('is status and version for anybody, the line for who has the token, in either header', async () => {
    const server = await start();
    const asked = async (headers: Record<string, string>) =>
      Object.keys((await (await fetch(new URL('healthz', server.url), { headers })).json()) as object);
    expect(await asked({})).toEqual(['status', 'version']);
    expect(await asked({ authorization: 'Bearer wrong', 'x-stage-token': 'wrong' })).toEqual(['status', 'version']);
    const all = ['status', 'queue', 'eta_ms', 'version'];
    expect(await asked({ authorization: `Bearer ${server.token}` })).toEqual(all);
    expect(await asked({ authorization: 'Bearer of a gateway', 'x-stage-token': server.token })).toEqual(all);
  });
});

describe('starting and stopping', () => {
  test('before the models are there it says starting, and 503 to all that needs one', async () => {
    const { promise, resolve } = Promise.withResolvers<readonly Model[]>();
    const server = await startServer(promise);
    stops.push(server.stop);
    expect(await health(server)).toMatchObject({ code: 503, status: 'starting' });
    for (const response of [await call(server, 'GET', 'v1/models'), await put(server, freshId(), body())]) {
      expect(response.status).toBe(503);
      expect(response.headers.get('retry-after')).not.toBe(null);
      expect(stageProblem.parse(await response.json()).code).toBe('starting');
    }
    expect((await call(server, 'DELETE', `v1/stages/${freshId()}`)).status).toBe(404);
    resolve([closedFormModel().model]);
    await server.server.ready;
    expect(await health(server)).toMatchObject({ code: 200, status: 'ready' });
    await finish(await put(server, freshId(), body()));
  });

  test('draining, it finishes what runs, sends off who waits, refuses what is new, and closes its models', async () => {
    const { before, openForGood } = gate();
    const server = await start({ drainMs: 5000 }, before);
    const [id, request] = [freshId(), body()];
    const running = await put(server, id, request);
    const waiting = messages(await put(server, freshId(), body()));
    await waiting.next();
    const closed = server.server.close();
    expect((await waiting.next()).value?.event).toMatchObject({ event: 'error', code: 'draining', retryable: true });
    expect(await health(server)).toMatchObject({ code: 503, status: 'draining' });
    const refused = await put(server, freshId(), body());
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).not.toBe(null);
    expect(stageProblem.parse(await refused.json()).code).toBe('draining');
    const attached = await put(server, id, request);
    expect(server.calls.isClosed).toBe(false);
    openForGood();
    await closed;
    expect(server.calls.isClosed).toBe(true);
    expect((await finish(running)).done.steps_done).toBe(2);
    expect((await finish(attached)).done.steps_done).toBe(2);
  });

  test('draining for too long, it stops what runs and says it may be tried elsewhere', async () => {
    const server = await start({ drainMs: 30 }, (called) => (called === 'velocity' ? sleep(10) : undefined));
    const running = messages(await put(server, freshId(), body({ sigmas: evenSigmas(900) })));
    await readUntil(running, 'step');
    await server.server.close();
    expect((await readUntil(running, 'error')).event).toMatchObject({ code: 'draining', retryable: true });
    expect(server.logged.at(-1)).toMatchObject({ outcome: 'drained' });
  });

  test('an empty token, two models of one name, and a model that cannot be run here are mistakes', async () => {
    expect(() => createStageServer({ models: [], token: '' })).toThrow(RangeError);
    const { model } = closedFormModel();
    await expect(createStageServer({ models: [model, model], token: 'x' }).ready).rejects.toThrow(
      /two models are called closed-form/,
    );
    const cannot: [Partial<ModelFacts>, RegExp][] = [
      [{ negative_prompt: true }, /closed-form: a model that takes negative prompts cannot be served here/],
      [{ guidance: { kind: 'cfg', min: 0, max: 9, default: 5 } }, /classifier-free guidance/],
      [{ caches: ['taylor_velocity', 'taylor_blocks'] }, /cache of blocks/],
    ];
    for (const [facts, sentence] of cannot)
      await expect(createStageServer({ models: [closedFormModel({ facts }).model], token: 'x' }).ready).rejects.toThrow(
        sentence,
      );
    await expect(createStageServer({ models: Promise.reject(new Error('no disk')), token: 'x' }).ready).rejects.toThrow(
      'no disk',
    );
  });
});

describe('the log', () => {
  test('has one line a stage with its counts and trace, and never a prompt or the token', async () => {
    const server = await start();
    const id = freshId();
    await finish(await put(server, id, body({ options: { prompt: 'a secret apple' } })));
    await put(server, freshId(), body({ options: { prompt: 'a secret apple' }, sigmas: [1] }));
    expect(server.logged).toEqual([
      {
        event: 'stage',
        id,
        model: 'closed-form',
        tokens: 8,
        steps: 2,
        steps_done: 2,
        ms: expect.any(Number),
        outcome: 'done',
        trace_id: '0af7651916cd43dd8448eb211c80319c',
      },
      { event: 'refused', id: expect.any(String), status: 422, code: 'out_of_range', field: 'sigmas' },
    ]);
    expect(JSON.stringify(server.logged)).not.toMatch(/secret|token for tests/);
  });
});
