/**
 * The stage client against whoever answers in a stage server's place: a gateway, a proxy, something broken. The far
 * side is a real HTTP server that says what a test wants.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { CLOSED_FORM_FACTS } from '../../scripts/local/closed-form-model.ts';
import { connectStageServer, type StageCall, type StageServer } from '../../src/stage/client.ts';
import {
  MAX_PREVIEW_BYTES,
  type StageDone,
  type StageEvent,
  stageOptions,
  toMetadata,
} from '../../src/stage/contract.ts';
import { readAtMost } from '../../src/stage/read-at-most.ts';
import type { Route } from '../../src/stage/route.ts';
import { encodeMessage, type Tensor } from '../../src/stage/safetensors.ts';

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

/** A stage client whose server is `answer`. */
async function connectTo(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  route?: Route,
): Promise<StageServer> {
  const server = createServer((request, response) => {
    request.resume();
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(
    () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  );
  const { port } = server.address() as AddressInfo;
  const way = { fetcher: fetch, url: `http://127.0.0.1:${port}`, token: 'secret' };
  return connectStageServer(route ? { ...way, route } : way);
}

const says =
  (status: number, body: string | Uint8Array, headers: Record<string, string> = {}) =>
  (_: IncomingMessage, response: ServerResponse) => {
    response.writeHead(status, headers).end(body);
  };

/** Sends for ever, and counts what the network took until the other side hung up. */
function flood(status: number) {
  const seen = { bytes: 0, isCut: false };
  const answer = (_: IncomingMessage, response: ServerResponse) => {
    const chunk = Buffer.alloc(64 * 1024, '<p>');
    if (!response.hasHeader('content-type')) response.setHeader('content-type', 'text/html');
    response.writeHead(status);
    response.on('close', () => {
      seen.isCut = true;
    });
    const more = () => {
      if (seen.isCut) return;
      seen.bytes += chunk.length;
      response.write(chunk, () => setImmediate(more));
    };
    more();
  };
  return { seen, answer };
}

const stageCall = (more: Partial<StageCall> = {}): StageCall => ({
  id: 'job.1.0',
  body: new Uint8Array(1000),
  options: stageOptions.parse({
    model: 'm',
    prompt: '',
    negative_prompt: '',
    guidance: null,
    width: 64,
    height: 64,
    decode: 'none',
    rgb: false,
    format: 'png',
    quality: 80,
    preview: null,
    cache: null,
    traceparent: '',
  }),
  numTokens: 4,
  numValues: 16,
  steps: 1,
  evaluations: 1,
  rgbSize: { width: 32, height: 32 },
  signal: new AbortController().signal,
  timeoutMs: 10_000,
  silenceMs: 10_000,
  lineMs: 10_000,
  onProgress: () => {},
  ...more,
});

const failureOf = async (server: StageServer, more: Partial<StageCall> = {}) => {
  const outcome = await server.run(stageCall(more));
  return outcome.ok ? null : outcome.failure;
};
const problem = (more: object = {}) => JSON.stringify({ code: 'out_of_range', message: 'too much', ...more });

describe('a refusal', () => {
  test.each([400, 401, 404, 409, 413, 422])(
    'with status %i and our body comes from the stage server',
    async (status) => {
      expect(await failureOf(await connectTo(says(status, problem({ field: 'width', more: 1 }))))).toEqual({
        reason: 'refused',
        status,
        code: 'out_of_range',
        message: 'too much',
      });
    },
  );

  test('keeps the beginning of a long message', async () => {
    const failure = await failureOf(await connectTo(says(422, problem({ message: 'x'.repeat(5000) }))));
    expect(failure).toMatchObject({ reason: 'refused', message: 'x'.repeat(300) });
  });

  test.each([
    ['an HTML page', '<html><body>404 Not Found</body></html>'],
    ['nothing', ''],
    ['JSON of another shape', JSON.stringify({ error: { code: 'x', message: 'no worker' } })],
    ['JSON that is no object', '[1]'],
    ['a code that is no name', problem({ code: 'x'.repeat(201) })],
    ['an empty code', problem({ code: '' })],
    ['our body, longer than any of ours', problem({ more: 'x'.repeat(64 * 1024) })],
    ['our body, cut', problem().slice(0, -1)],
  ])('with %s comes from a gateway', async (_, body) => {
    for (const status of [400, 404])
      expect(await failureOf(await connectTo(says(status, body)))).toEqual({ reason: 'gateway', status });
  });

  test('that never ends comes from a gateway, and no more of it is read than a stage server may send', async () => {
    const { seen, answer } = flood(404);
    expect(await failureOf(await connectTo(answer))).toEqual({ reason: 'gateway', status: 404 });
    await vi.waitFor(() => expect(seen.isCut).toBe(true));
    expect(seen.bytes).toBeLessThan(16 * 1024 * 1024); // what the limit and the buffers on the way took
  });

  test('that breaks off comes from a gateway', async () => {
    const server = await connectTo((_, response) => {
      response.writeHead(400, { 'content-length': 1000 }).write(problem());
      setTimeout(() => response.destroy(), 20);
    });
    expect(await failureOf(server)).toEqual({ reason: 'gateway', status: 400 });
  });

  test('that stalls ends with the clocks and the signal of the call', async () => {
    const stalls = (_: IncomingMessage, response: ServerResponse) => void response.writeHead(400).write('{"code":');
    const server = await connectTo(stalls);
    expect(await failureOf(server, { silenceMs: 50 })).toEqual({ reason: 'timeout', kind: 'silence', ms: 50 });
    expect(await failureOf(server, { timeoutMs: 50 })).toEqual({ reason: 'timeout', kind: 'total', ms: 50 });
    expect(await failureOf(server, { signal: AbortSignal.timeout(50) })).toEqual({ reason: 'aborted' });
  });
});

describe('other answers', () => {
  test.each([
    [408, '', { reason: 'server_error', status: 408 }],
    [429, problem(), { reason: 'busy', retryAfterMs: 7000 }],
    [503, '<html>', { reason: 'busy', retryAfterMs: 7000 }],
    [500, problem(), { reason: 'server_error', status: 500 }],
    [502, '<html>', { reason: 'unreachable', detail: 'a gateway answered 502', isAnswered: false }],
    [530, '', { reason: 'unreachable', detail: 'a gateway answered 530', isAnswered: false }],
    [524, '', { reason: 'server_error', status: 524 }],
    [303, '', { reason: 'gateway', status: 303 }],
    [204, '', { reason: 'server_error', status: 204 }],
  ])('with status %i', async (status, body, failure) => {
    expect(await failureOf(await connectTo(says(status, body, { 'retry-after': '7' })))).toEqual(failure);
  });

  test('of 200 that are no messages are invalid', async () => {
    const failure = await failureOf(
      await connectTo(says(200, '<html>This is a page, not a sequence of messages.</html>')),
    );
    expect(failure).toMatchObject({ reason: 'invalid_response' });
  });
});

/** Says `queued` (its place) or `step` (null) each so many milliseconds, the last for ever. */
const talks = (said: readonly (number | null)[], everyMs: number) => (_: IncomingMessage, response: ServerResponse) => {
  let at = 0;
  const next = () => {
    const position = said[Math.min(at++, said.length - 1)] as number | null;
    const event =
      position === null
        ? { event: 'step', step: 1, steps: 1, sigma: 1, ms: 1 }
        : { event: 'queued', position, eta_ms: 100 };
    response.write(encodeMessage({ metadata: toMetadata(event as StageEvent), tensors: {} }));
  };
  response.writeHead(200);
  next();
  const timer = setInterval(next, everyMs);
  response.on('close', () => clearInterval(timer));
};

describe('three clocks:', () => {
  const BUSY = { reason: 'busy', retryAfterMs: 1000 };
  const total = (ms: number) => ({ reason: 'timeout', kind: 'total', ms });
  /** What a call comes to, and after how long. */
  const timed = async (said: readonly (number | null)[], more: Partial<StageCall>) => {
    const server = await connectTo(talks(said, 20));
    const begin = Date.now();
    return { failure: await failureOf(server, more), ms: Date.now() - begin };
  };

  test('a stage that waits in the line longer than it may compute succeeds', async () => {
    const latents = { data: new Float32Array(4 * 16), shape: [4, 16] };
    const done = {
      event: 'done',
      compute_ms: 1,
      encode_text_ms: 0,
      decode_ms: 0,
      encode_ms: 0,
      steps_done: 1,
    } as const;
    const last = encodeMessage({
      metadata: toMetadata({ ...done, engine: 'e', model_digest: 'd', warnings: [] }),
      tensors: { latents },
    });
    const server = await connectTo((request, response) => {
      talks([...Array.from({ length: 20 }, () => 1), 0], 20)(request, response);
      setTimeout(() => response.end(last), 600);
    });
    const seen: number[] = [];
    const outcome = await server.run(
      stageCall({
        timeoutMs: 400,
        onProgress: (event) => void (event.event === 'queued' && seen.push(event.position)),
      }),
    );
    expect(outcome.ok).toBe(true);
    expect(seen.filter((position) => position === 1)).toHaveLength(20);
  });

  test('a line longer than its limit is a busy server, whatever computing may take', async () => {
    const { failure, ms } = await timed([3], { timeoutMs: 50, lineMs: 300 });
    expect(failure).toEqual(BUSY);
    expect(ms).toBeGreaterThanOrEqual(295);
  });

  test('computing longer than its limit after the line is too long, and the line does not count', async () => {
    const { failure, ms } = await timed([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0], { timeoutMs: 150, lineMs: 10_000 });
    expect(failure).toEqual(total(150));
    expect(ms).toBeGreaterThanOrEqual(330);
  });

  test('a stage that computes is not ended by the clock of the line it was in', async () => {
    const { failure } = await timed([1, 0, null], { timeoutMs: 500, lineMs: 100 });
    expect(failure).toEqual(total(500));
  });

  test('silence ends a call in the line and while it computes', async () => {
    for (const position of [1, 0]) {
      const server = await connectTo(talks([position], 10_000));
      expect(await failureOf(server, { silenceMs: 60 })).toEqual({ reason: 'timeout', kind: 'silence', ms: 60 });
    }
  });

  test('a server that goes in and out of its line for ever has both limits together, and no more', async () => {
    const flaps = Array.from({ length: 1000 }, (_, i) => (i % 2 === 0 ? 1 : null));
    const { failure, ms } = await timed(flaps, { timeoutMs: 200, lineMs: 200 });
    expect([BUSY, total(200)]).toContainEqual(failure);
    expect(ms).toBeLessThan(1500);
  });
});

describe('a result', () => {
  const done: StageDone = {
    event: 'done',
    compute_ms: 1,
    encode_text_ms: 0,
    decode_ms: 0,
    encode_ms: 0,
    steps_done: 5,
    engine: 'e',
    model_digest: 'd',
    warnings: [],
  };
  const outcomeOf = async (said: Partial<StageDone>, asked: Partial<StageCall>) => {
    const latents = { data: new Float32Array(4 * 16), shape: [4, 16] };
    const body = encodeMessage({ metadata: toMetadata({ ...done, ...said }), tensors: { latents } });
    const outcome = await (await connectTo(says(200, body))).run(stageCall(asked));
    return outcome.ok ? 'taken' : outcome.failure;
  };
  const invalid = (detail: string) => ({ reason: 'invalid_response', detail });

  test('has as many steps and evaluations as were asked for', async () => {
    const cached = { steps: 5, evaluations: 3 };
    expect(await outcomeOf({ evaluations: 3 }, cached)).toBe('taken');
    expect(await outcomeOf({ evaluations: 5 }, cached)).toEqual(invalid('5 evaluations, 3 asked for'));
    expect(await outcomeOf({}, cached)).toEqual(invalid('unstated evaluations, 3 asked for'));
    expect(await outcomeOf({ steps_done: 4, evaluations: 3 }, cached)).toEqual(invalid('4 steps done, 5 asked for'));
  });

  test('of a server that states no evaluations has evaluated every step', async () => {
    expect(await outcomeOf({}, { steps: 5, evaluations: 5 })).toBe('taken');
    expect(await outcomeOf({ evaluations: 4 }, { steps: 5, evaluations: 5 })).toEqual(
      invalid('4 evaluations, 5 asked for'),
    );
  });
});

describe('a late preview', () => {
  const encoded = (event: StageEvent, tensors: Record<string, Tensor> = {}): Uint8Array =>
    encodeMessage({ metadata: toMetadata(event), tensors });
  const DONE = encoded(
    {
      ...{ event: 'done', compute_ms: 1, encode_text_ms: 0, decode_ms: 0, encode_ms: 0, steps_done: 1 },
      ...{ engine: 'e', model_digest: 'd', warnings: [] },
    },
    { latents: { data: new Float32Array(4 * 16), shape: [4, 16] } },
  );
  const picture = (data: Uint8Array | Float32Array) =>
    encoded({ event: 'preview', decode_ms: 3, encode_ms: 2 }, { preview: { data, shape: [data.length] } });
  const PREVIEW = picture(Uint8Array.of(1, 2, 3));
  const CAME = { preview: Uint8Array.of(1, 2, 3), decodeMs: 3, encodeMs: 2 };
  const { options } = stageCall();
  const asked = {
    options: stageOptions.parse({
      ...options,
      ...{ decode: 'clean', preview: { format: 'png', longest_side: 64 }, late_preview: true },
    }),
  };

  /** The result of a call whose answer is written by `answer`; how often the connection was closed from here. */
  async function resultOf(answer: (response: ServerResponse) => void, more: Partial<StageCall> = {}) {
    const seen = { isCut: false };
    const server = await connectTo((_, response) => {
      response.on('close', () => {
        seen.isCut = !response.writableFinished;
      });
      response.writeHead(200);
      answer(response);
    });
    const outcome = await server.run(stageCall({ ...asked, ...more }));
    if (!outcome.ok) throw new Error(JSON.stringify(outcome.failure));
    return { result: outcome.result, seen };
  }
  const then = (ms: number, work: (response: ServerResponse) => void) => (response: ServerResponse) => {
    response.write(DONE);
    setTimeout(() => work(response), ms);
  };

  test('comes behind the result, which does not wait for it', async () => {
    let isSent = false;
    const answer = then(100, (response) => {
      isSent = true;
      response.end(PREVIEW);
    });
    const { result, seen } = await resultOf(answer);
    expect(isSent).toBe(false);
    expect(result).toMatchObject({ preview: null, latents: new Float32Array(64) });
    expect(await result.behind).toEqual(CAME);
    expect(seen.isCut).toBe(false);
  });

  test('may come in the same breath as the result', async () => {
    const { result } = await resultOf((response) => response.end(Buffer.concat([DONE, PREVIEW])));
    expect(await result.behind).toEqual(CAME);
  });

  test('ends the wait for the body: what follows it is not read', async () => {
    const { result, seen } = await resultOf(then(5, (response) => response.write(PREVIEW)));
    expect(await result.behind).toEqual(CAME);
    await vi.waitFor(() => expect(seen.isCut).toBe(true));
  });

  test('is not limited by the clocks of the call, but by silence', async () => {
    const answer = then(150, (response) => response.end(PREVIEW));
    const { result } = await resultOf(answer, { timeoutMs: 60, lineMs: 60, silenceMs: 5000 });
    expect(await result.behind).toEqual(CAME);
    const begin = Date.now();
    const stalled = await resultOf(
      then(0, () => undefined),
      { silenceMs: 80 },
    );
    expect(await stalled.result.behind).toBe(null);
    expect(Date.now() - begin).toBeGreaterThanOrEqual(75);
    await vi.waitFor(() => expect(stalled.seen.isCut).toBe(true));
  });

  test('is waited for anew from the result on, however long the silence before that was', async () => {
    const { result } = await resultOf(
      (response) => void setTimeout(() => then(150, () => response.end(PREVIEW))(response), 150),
      { silenceMs: 250 },
    );
    expect(await result.behind).toEqual(CAME);
  });

  test('is given up with the call, and the connection with it', async () => {
    const controller = new AbortController();
    const { result, seen } = await resultOf(
      then(0, () => undefined),
      { signal: controller.signal },
    );
    setTimeout(() => controller.abort(), 20);
    expect(await result.behind).toBe(null);
    await vi.waitFor(() => expect(seen.isCut).toBe(true));
  });

  const nothing: readonly (readonly [string, (response: ServerResponse) => void])[] = [
    ['a body that ends', (response) => response.end()],
    ['a connection that breaks', (response) => response.destroy()],
    ['a message that is cut', (response) => response.end(PREVIEW.subarray(0, -1))],
    ['bytes that are no message', (response) => response.end(new Uint8Array(64).fill(255))],
    [
      'an error',
      (response) => response.end(encoded({ event: 'error', code: 'model_failed', message: 'm', retryable: true })),
    ],
    ['another result', (response) => response.end(DONE)],
    ['an event nobody knows', (response) => response.end(encodeMessage({ metadata: { event: 'x' }, tensors: {} }))],
    [
      'a preview without its picture',
      (response) => response.end(encoded({ event: 'preview', decode_ms: 1, encode_ms: 1 })),
    ],
    ['a picture of another type', (response) => response.end(picture(Float32Array.of(1)))],
    ['a picture over the limit', (response) => response.end(picture(new Uint8Array(MAX_PREVIEW_BYTES + 1)))],
  ];
  test.each(nothing)('is null after %s, and the result stands', async (_, ends) => {
    const { result } = await resultOf(then(20, ends));
    expect(result.done.steps_done).toBe(1);
    expect(await result.behind).toBe(null);
  });

  test('of exactly the limit is taken', async () => {
    const { result } = await resultOf(then(0, (response) => response.end(picture(new Uint8Array(MAX_PREVIEW_BYTES)))));
    expect((await result.behind)?.preview.length).toBe(MAX_PREVIEW_BYTES);
  });

  test('of a body that ignores its signal is not waited for longer than the silence, or the signal', async () => {
    const stuck = () => {
      let isTold = false;
      return new ReadableStream<Uint8Array>(
        {
          pull(controller) {
            if (isTold) return new Promise(() => {});
            isTold = true;
            controller.enqueue(DONE);
          },
          cancel: () => new Promise(() => {}),
        },
        { highWaterMark: 0 },
      );
    };
    const server = connectStageServer({ fetcher: async () => new Response(stuck()), url: 'http://a.test', token: 't' });
    const behindOf = async (more: Partial<StageCall>) => {
      const outcome = await server.run(stageCall({ ...asked, ...more }));
      return outcome.ok ? outcome.result.behind : 'failed';
    };
    expect(await behindOf({ silenceMs: 30 })).toBe(null);
    expect(await behindOf({ signal: AbortSignal.timeout(30) })).toBe(null);
  });

  test('before its result is no answer', async () => {
    const failure = await failureOf(await connectTo(says(200, PREVIEW)), asked);
    expect(failure).toEqual({ reason: 'invalid_response', detail: 'a preview before done' });
  });

  test('is none where it was not asked for: the connection is let go with the result', async () => {
    const { result, seen } = await resultOf(
      then(0, () => undefined),
      { options },
    );
    expect(result.behind).toBe(null);
    await vi.waitFor(() => expect(seen.isCut).toBe(true));
  });

  test('leaves no clock behind it', async () => {
    vi.useFakeTimers();
    try {
      const isDrawn = Promise.withResolvers<void>();
      async function* messages() {
        yield DONE;
        await isDrawn.promise;
        yield PREVIEW;
      }
      const server = connectStageServer({
        fetcher: async () => new Response(ReadableStream.from(messages())),
        url: 'http://a.test',
        token: 't',
      });
      const outcome = await server.run(stageCall(asked));
      expect(vi.getTimerCount()).toBe(1);
      isDrawn.resolve();
      expect(outcome.ok && (await outcome.result.behind)).toEqual(CAME);
      await vi.advanceTimersByTimeAsync(0);
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('a connection', () => {
  const done = encodeMessage({
    metadata: toMetadata({
      ...{ event: 'done', compute_ms: 1, encode_text_ms: 0, decode_ms: 0, encode_ms: 0, steps_done: 1 },
      ...{ engine: 'e', model_digest: 'd', warnings: [] },
    }),
    tensors: { latents: { data: new Float32Array(4 * 16), shape: [4, 16] } },
  });
  const error = encodeMessage({
    metadata: toMetadata({ event: 'error', code: 'model_failed', message: 'm', retryable: true }),
    tensors: {},
  });

  test.each([
    ['a result', done],
    ['an error', error],
  ])('is used again where the body ends a moment after %s', async (_, last) => {
    const sockets = new Set<unknown>();
    const server = await connectTo((request, response) => {
      sockets.add(request.socket);
      response.writeHead(200).write(last);
      setTimeout(() => response.end(), 5);
    });
    for (let i = 0; i < 5; i++) {
      await server.run(stageCall());
      await sleep(30);
    }
    expect(sockets.size).toBe(1);
  });

  test('is closed where the body does not end, and the call waits for neither', async () => {
    let closedAt = 0;
    const server = await connectTo((_, response) => {
      response.on('close', () => {
        closedAt = performance.now();
      });
      response.writeHead(200).write(done);
    });
    expect((await server.run(stageCall())).ok).toBe(true);
    const at = performance.now();
    await vi.waitFor(() => expect(closedAt).toBeGreaterThan(at));
    expect(closedAt - at).toBeGreaterThan(150);
  });
});

describe('the list of models', () => {
  test('is read with the token, and what comes is checked', async () => {
    const seen: (string | undefined)[] = [];
    const server = await connectTo((request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers.authorization}`);
      response.end(JSON.stringify({ models: [CLOSED_FORM_FACTS] }));
    });
    expect((await server.models()).models[0]?.id).toBe(CLOSED_FORM_FACTS.id);
    expect(seen).toEqual(['GET /v1/models Bearer secret']);
  });

  test.each([
    ['a status', says(401, problem()), /^answered 401$/],
    ['no JSON', says(200, '<html>'), /JSON/],
    ['another list', says(200, '{"data": []}'), /^answered something else than its models: models /],
    [
      'sizes that no whole number of tokens covers',
      says(200, JSON.stringify({ models: [{ ...CLOSED_FORM_FACTS, sizes: [{ width: 100, height: 64 }] }] })),
      /models\.0\.sizes\.0 100x64 must have sides that are multiples of token_pixels, 16$/,
    ],
  ])('is refused where the answer is %s, with the reason', async (_, answer, reason) => {
    await expect((await connectTo(answer)).models()).rejects.toThrow(reason);
  });

  test('that never ends is refused, and the rest is not read', async () => {
    const { seen, answer } = flood(200);
    await expect((await connectTo(answer)).models()).rejects.toThrow('answered with more than 4194304 bytes');
    await vi.waitFor(() => expect(seen.isCut).toBe(true));
    expect(seen.bytes).toBeLessThan(32 * 1024 * 1024);
  });
});

describe('reading at most so many bytes', () => {
  const never = new AbortController().signal;

  test('gives all of them, or null and leaves the rest', async () => {
    const chunks = fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(chunks, fc.integer({ min: 0, max: 80 }), async (parts, limit) => {
        const read = await readAtMost(ReadableStream.from(parts), limit, never);
        const all = Buffer.concat(parts);
        expect(read && Buffer.from(read)).toEqual(all.length <= limit ? all : null);
      }),
    );
    expect(await readAtMost(null, 0, never)).toEqual(new Uint8Array(0));
  });

  test('ends with the signal where the body does not heed it, and cancels the body', async () => {
    let isCancelled = false;
    const stuck = () =>
      new ReadableStream<Uint8Array>({
        pull: () => new Promise(() => {}),
        cancel: () => {
          isCancelled = true;
        },
      });
    const reason = new Error('enough');
    await expect(readAtMost(stuck(), 10, AbortSignal.abort(reason))).rejects.toBe(reason);
    const controller = new AbortController();
    const reading = readAtMost(stuck(), 10, controller.signal);
    await sleep(5);
    controller.abort(reason);
    await expect(reading).rejects.toBe(reason);
    expect(isCancelled).toBe(true);
  });

  test('throws what the body throws', async () => {
    const broken = new ReadableStream<Uint8Array>({ start: (controller) => controller.error(new Error('cut')) });
    await expect(readAtMost(broken, 10, never)).rejects.toThrow('cut');
  });
});

describe('asked to stop a stage', () => {
  const ours = problem({ code: 'unknown_stage' });
  test.each([
    [204, '', true],
    // it does not know the stage, or does not any more
    [404, ours, true],
    [404, '{"reason": "affinity_worker_gone"}', false],
    [404, '<html>', false],
    [401, ours, false],
    [303, '', false],
    [502, ours, false],
    [200, ours, false],
  ])('an answer of %i with %o counts as heard: %s', async (status, body, isHeard) => {
    const server = await connectTo(says(status, body));
    expect(await server.cancel('job.1.0')).toBe(isHeard);
  });

  test('a server that is gone has not heard', async () => {
    const gone = connectStageServer({ fetcher: fetch, url: 'http://127.0.0.1:1', token: 'secret' });
    expect(await gone.cancel('job.1.0')).toBe(false);
  });
});

/** The stage goes on. */
const NEVER = new AbortController().signal;

describe('a thumbnail', () => {
  const webp = Uint8Array.from(Buffer.from('RIFF\x08\0\0\0WEBPVP8 ', 'latin1'));
  const HEADERS = { 'content-type': 'image/webp', 'x-stage-step': '7', 'x-stage-size': '96x64' };

  test('is read with its step and its size, with the token', async () => {
    const seen: unknown[] = [];
    const server = await connectTo(({ method, url, headers }, response) => {
      seen.push(method, url, headers.authorization);
      response.writeHead(200, HEADERS).end(webp);
    });
    expect(await server.thumbnail('job.1.0', null, NEVER)).toEqual({
      ...{ step: 7, format: 'webp', width: 96, height: 64 },
      bytes: webp,
    });
    expect(seen).toEqual(['GET', '/v1/stages/job.1.0/thumbnail', 'Bearer secret']);
  });

  test.each<[string, number, string | Uint8Array, Record<string, string>]>([
    ['nothing to see yet', 204, '', {}],
    ['no such stage', 404, problem({ code: 'unknown_stage' }), {}],
    ['a server that fails', 500, 'oops', {}],
    ['a page of HTML', 200, '<html></html>', { 'content-type': 'text/html' }],
    ['a page that calls itself a picture', 200, '<html></html>', HEADERS],
    ['a picture of another kind than it says', 200, webp, { ...HEADERS, 'content-type': 'image/png' }],
    ['a picture of a kind nobody shows', 200, '<svg/>', { ...HEADERS, 'content-type': 'image/svg+xml' }],
    ['an empty picture', 200, '', HEADERS],
    ['one byte too many', 200, Buffer.concat([webp, Buffer.alloc(4097 - webp.length)]), HEADERS],
    ['no step', 200, webp, { 'content-type': 'image/webp', 'x-stage-size': '96x64' }],
    ['a step that is none', 200, webp, { ...HEADERS, 'x-stage-step': '-1' }],
    ['no size', 200, webp, { 'content-type': 'image/webp', 'x-stage-step': '7' }],
    ['too many pixels', 200, webp, { ...HEADERS, 'x-stage-size': '97x64' }],
    ['a redirect', 302, '', { location: 'http://elsewhere.test/' }],
  ])('is none of %s', async (_, status, body, headers) => {
    const server = await connectTo(says(status, body, headers));
    expect(await server.thumbnail('job.1.0', null, NEVER)).toBeNull();
  });

  test('of exactly the limit is taken', async () => {
    const server = await connectTo(says(200, Buffer.concat([webp, Buffer.alloc(4096 - webp.length)]), HEADERS));
    expect((await server.thumbnail('job.1.0', null, NEVER))?.bytes.length).toBe(4096);
  });

  test('that never ends is none, and the rest is not read', async () => {
    const { seen, answer } = flood(200);
    const server = await connectTo((request, response) => {
      for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
      answer(request, response);
    });
    expect(await server.thumbnail('job.1.0', null, NEVER)).toBeNull();
    await expect.poll(() => seen.isCut).toBe(true);
    expect(seen.bytes).toBeLessThan(8 * 1024 * 1024);
  });

  test('is given up when the stage ends', async () => {
    const over = new AbortController();
    const { promise: isCut, resolve: cut } = Promise.withResolvers<void>();
    const server = await connectTo((request) => {
      request.socket.once('close', () => cut());
      over.abort();
    });
    expect(await server.thumbnail('job.1.0', null, over.signal)).toBeNull();
    await isCut;
  });

  test('of a server that is gone is none', async () => {
    const server = await connectTo(({ socket }) => void socket.destroy());
    expect(await server.thumbnail('job.1.0', null, NEVER)).toBeNull();
  });

  test('is asked of the worker that has the stage, and of nobody where that is not known', async () => {
    const seen: unknown[] = [];
    const server = await connectTo(
      ({ headers }, response) => {
        seen.push(headers['x-runpod-worker-id']);
        response.writeHead(204).end();
      },
      { tokenHeader: 'X-Stage-Token', headers: {}, affinity: { header: 'X-Runpod-Worker-Id', by: 'worker' } },
    );
    await server.thumbnail('job.1.0', null, NEVER);
    await server.thumbnail('job.1.0', 'w1', NEVER);
    expect(seen).toEqual(['strict w1']);
  });
});

describe('behind a gateway', () => {
  const route = (affinity: Route['affinity'] = null): Route => ({
    tokenHeader: 'X-Stage-Token',
    headers: { authorization: 'Bearer gateway' },
    affinity,
  });

  test('the token stands in its own header on every route that needs one, and no redirect takes it along', async () => {
    const seen: unknown[] = [];
    const server = await connectTo(({ method, url, headers }, response) => {
      seen.push([method, url, headers.authorization, headers['x-stage-token']]);
      response.writeHead(303, { location: '/elsewhere' }).end();
    }, route());
    await server.run(stageCall());
    await server.cancel('job.1.0');
    await expect(server.models()).rejects.toThrow('answered 303');
    expect(seen).toEqual([
      ['PUT', '/v1/stages/job.1.0', 'Bearer gateway', 'secret'],
      ['DELETE', '/v1/stages/job.1.0', 'Bearer gateway', 'secret'],
      ['GET', '/v1/models', 'Bearer gateway', 'secret'],
    ]);
  });

  test('a session that we name is the job, whatever the stage', async () => {
    const seen: unknown[] = [];
    const server = await connectTo(
      ({ headers }, response) => {
        seen.push(headers['modal-session-id']);
        response.writeHead(204).end();
      },
      route({ header: 'Modal-Session-ID', by: 'job' }),
    );
    await server.run(stageCall());
    await server.run(stageCall({ id: 'job.2.7' }));
    await server.cancel('job.1.0');
    await server.cancel('other.1.0');
    expect(seen).toEqual(['job', 'job', 'job', 'other']);
  });

  /** A gateway that calls its worker `name`; what it was asked for, and what it told. */
  const gateway = async (name: string) => {
    const seen: unknown[] = [];
    const told: string[] = [];
    const server = await connectTo(
      ({ method, headers }, response) => {
        seen.push([method, headers['x-runpod-worker-id']]);
        response.writeHead(method === 'PUT' ? 400 : 204, { 'x-runpod-worker-id': name }).end();
      },
      route({ header: 'X-Runpod-Worker-Id', by: 'worker' }),
    );
    return { seen, told, server, onWorker: (worker: string) => told.push(worker) };
  };

  test('a worker that it names is told, rather asked again where that is wanted, and alone told to stop', async () => {
    const { seen, told, server, onWorker } = await gateway('w1');
    await server.run(stageCall({ onWorker }));
    await server.run(stageCall({ onWorker, worker: 'w1' }));
    await server.cancel('job.1.0', 'w1');
    await server.cancel('job.1.0');
    expect(told).toEqual(['w1', 'w1']);
    expect(seen).toEqual([
      ['PUT', undefined],
      ['PUT', 'w1'],
      ['DELETE', 'strict w1'],
      ['DELETE', undefined],
    ]);
  });

  test.each(['w 1', '', 'w'.repeat(201)])('a name that is none is not told: %o', async (name) => {
    const { told, server, onWorker } = await gateway(name);
    await server.run(stageCall({ onWorker }));
    expect(told).toEqual([]);
  });

  test('no worker is told, or asked for, where none is configured', async () => {
    const told: string[] = [];
    const seen: unknown[] = [];
    const server = await connectTo(({ headers }, response) => {
      seen.push(headers['x-runpod-worker-id']);
      response.writeHead(400, { 'x-runpod-worker-id': 'w1' }).end();
    });
    await server.run(stageCall({ worker: 'w1', onWorker: (worker) => told.push(worker) }));
    await server.cancel('job.1.0', 'w1');
    expect([told, seen]).toEqual([[], [undefined, undefined]]);
  });
});

test('a way that heeds no signal is not waited for longer than its limit', async () => {
  vi.useFakeTimers();
  try {
    const server = connectStageServer({
      fetcher: () => new Promise(() => undefined),
      url: 'http://a.test',
      token: 't',
    });
    const asked = Promise.all([
      server.models().catch(String),
      server.cancel('id'),
      server.thumbnail('id', null, NEVER),
    ]);
    await vi.advanceTimersByTimeAsync(15_000);
    expect(await asked).toEqual(['TookTooLong: the stage server took longer than 5 s', false, null]);
  } finally {
    vi.useRealTimers();
  }
});
