/**
 * Version 1 of the stage contract as those know it who speak nothing newer: what its reader takes, and a server that
 * speaks it. A record: what is here does not change, whatever becomes of src/stage/contract.ts.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { z } from 'zod';
import {
  decodeMessage,
  encodeMessage,
  type Message,
  readMessages,
  SafetensorsError,
} from '../../src/stage/safetensors.ts';
import type { Started } from './conformance.ts';
import type { Target } from './requests.ts';

// ---- what it reads ----

const MAX_BYTES = 64 * 1024 * 1024;
const positiveInt = z.int().positive();

const modelFacts = z.object({
  id: z.string().min(1),
  aliases: z.array(z.string()),
  channels: positiveInt,
  token_pixels: positiveInt,
  sizes: z.array(z.object({ width: positiveInt, height: positiveInt })).min(1),
  shift: z
    .array(z.object({ tokens: positiveInt, shift: z.number().positive() }))
    .min(1)
    .refine((points) => points.every(({ tokens }, i) => i === 0 || tokens > (points[i - 1]?.tokens ?? 0))),
  steps: positiveInt,
  guidance: z.object({ min: z.number(), max: z.number(), default: z.number() }).nullable(),
  negative_prompt: z.boolean(),
  text_tokens: positiveInt,
  max_tokens: positiveInt,
  flops: z.object({
    per_token: z.number().nonnegative(),
    per_token_squared: z.number().nonnegative(),
    fixed: z.number().nonnegative(),
    attention_per_token: z.number().nonnegative(),
    attention_fixed: z.number().nonnegative(),
    decode_per_pixel: z.number().nonnegative(),
    text: z.number().nonnegative(),
  }),
  digest: z.string().min(1),
  licence: z.string(),
  card: z.string(),
});

/** The answer of `GET /v1/models`. */
export const modelList1 = z.object({ models: z.array(modelFacts) });

/** The part of `GET /healthz` that is read. */
export const health1 = z.object({ queue: z.int().nonnegative(), eta_ms: z.number().nonnegative() });

/** The body of a refusal. */
export const stageProblem1 = z.object({ code: z.string(), message: z.string(), field: z.string().optional() });

/** The metadata of a message of an answer, JSON values parsed. */
export const stageEvent1 = z.discriminatedUnion('event', [
  z.object({ event: z.literal('queued'), position: z.int().nonnegative(), eta_ms: z.number().nonnegative() }),
  z.object({
    event: z.literal('step'),
    step: positiveInt,
    steps: positiveInt,
    sigma: z.number(),
    ms: z.number().nonnegative(),
  }),
  z.object({
    event: z.literal('done'),
    compute_ms: z.number().nonnegative(),
    encode_text_ms: z.number().nonnegative(),
    decode_ms: z.number().nonnegative(),
    encode_ms: z.number().nonnegative(),
    steps_done: positiveInt,
    engine: z.string(),
    model_digest: z.string(),
    warnings: z.array(z.string()),
  }),
  z.object({ event: z.literal('error'), code: z.string(), message: z.string(), retryable: z.boolean() }),
]);

const EVENT_TEXTS = ['event', 'engine', 'model_digest', 'code', 'message'];
const REQUEST_TEXTS = ['model', 'prompt', 'negative_prompt', 'decode', 'format', 'traceparent'];

/** Every value that is no text must be JSON, whether its key is known or not. Throws SyntaxError where one is not. */
const parseMetadata = (metadata: Readonly<Record<string, string>>, texts: readonly string[]): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(metadata).map(([key, value]) => [key, texts.includes(key) ? value : JSON.parse(value)]),
  );

/** The metadata of a message of an answer as its reader parses it, before the schema. */
export const eventValues1 = ({ metadata }: Message): Record<string, unknown> => parseMetadata(metadata, EVENT_TEXTS);

/** The messages of an answer as its reader reads them. Throws where it would end the attempt. */
export async function readAnswer1(response: Response): Promise<(Message & { event: z.infer<typeof stageEvent1> })[]> {
  if (response.status !== 200 || !response.body) throw new Error(`status ${response.status}: ${await response.text()}`);
  const all = [];
  for await (const message of readMessages(response.body, MAX_BYTES))
    all.push({ ...message, event: stageEvent1.parse(eventValues1(message)) });
  return all;
}

// ---- what its server takes, and says ----

/** The metadata of a request: no other key is allowed. One that is missing the server itself refuses. */
const REQUEST_KEYS = [...REQUEST_TEXTS, 'guidance', 'width', 'height', 'rgb', 'quality', 'preview', 'cache'];

/** The first key of a request that version 1 does not take, or null. */
function strangerIn(metadata: Readonly<Record<string, string>>): { key: string; why: string } | null {
  for (const [key, value] of Object.entries(metadata)) {
    try {
      parseMetadata({ [key]: value }, REQUEST_TEXTS);
    } catch {
      return { key, why: 'is not JSON' };
    }
  }
  if (metadata.cache !== undefined && metadata.cache !== 'null') return { key: 'cache', why: 'must be null' };
  const key = Object.keys(metadata).find((each) => !REQUEST_KEYS.includes(each));
  return key === undefined ? null : { key, why: 'is an unrecognized key' };
}

/** Its `done` has neither text tokens nor evaluations, and its engine is the library with version and the device. */
function messageIn1({ metadata, tensors }: Message): Message {
  const entries = Object.entries(metadata)
    .filter(([key]) => key !== 'text_tokens' && key !== 'evaluations')
    .map(([key, value]) => [key, key === 'engine' ? value.split(' ').slice(0, 2).join(' ') : value]);
  return { metadata: Object.fromEntries(entries), tensors };
}

export interface Version1Server extends Started {
  /** metadata of every stage request that came, as it was on the wire */
  readonly requests: readonly Readonly<Record<string, string>>[];
}

/**
 * A stage server of version 1 on a port of this machine: the server at `target` behind the rules of that version. It
 * refuses metadata that version 1 does not know, states no contract, engine class or feature, and says nothing in an
 * answer that version 1 does not say. It takes the token of `target`; port 0 takes a free one. Stopping it leaves
 * `target` running.
 */
export async function startVersion1(
  target: Target,
  { port = 0 }: { readonly port?: number } = {},
): Promise<Version1Server> {
  const requests: Record<string, string>[] = [];
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    token: target.token,
    requests,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url = '/', headers } = request;
    const refuse = (status: number, problem: z.infer<typeof stageProblem1>) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(problem));
    if (Number(headers['content-length'] ?? 0) > MAX_BYTES)
      return void refuse(413, { code: 'too_large', message: `the body is over the limit of ${MAX_BYTES} bytes` });
    const body = Buffer.concat(await request.toArray());
    if (method === 'PUT' && headers.authorization === `Bearer ${target.token}`) {
      const metadata = metadataOf(body);
      if (metadata) requests.push(metadata);
      const stranger = metadata && strangerIn(metadata);
      if (stranger) {
        const message = `metadata ${stranger.key}: ${stranger.why}`;
        return void refuse(400, { code: 'bad_metadata', message, field: stranger.key });
      }
    }
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    const upstream = await fetch(new URL(url, target.url), {
      method,
      headers: headers.authorization === undefined ? {} : { authorization: headers.authorization },
      signal: gone.signal,
      ...(method === 'PUT' && { body }),
    });
    const kept = ['content-type', 'retry-after', 'cache-control', 'www-authenticate'];
    response.writeHead(
      upstream.status,
      Object.fromEntries([...upstream.headers].filter(([name]) => kept.includes(name))),
    );
    if (upstream.ok && method === 'PUT' && upstream.body) {
      response.flushHeaders();
      for await (const message of readMessages(upstream.body, MAX_BYTES))
        response.write(encodeMessage(messageIn1(message)));
      return void response.end();
    }
    if (upstream.ok && url === '/v1/models')
      return void response.end(JSON.stringify(modelList1.parse(await upstream.json())));
    response.end(Buffer.from(await upstream.arrayBuffer()));
  }
}

/** The metadata of a body; null where it is no message, which the server itself refuses. */
function metadataOf(body: Uint8Array): Readonly<Record<string, string>> | null {
  try {
    return decodeMessage(body).metadata;
  } catch (error) {
    if (error instanceof SafetensorsError) return null;
    throw error;
  }
}
