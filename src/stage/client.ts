/**
 * Talking to one stage server: a request out, its events as they come, one outcome. Every expected failure is a value
 * with its evidence.
 */
import { firstNotFinite } from '../numerics/finite.ts';
import { type CallEnd, type ClockLimits, startClocks } from './clocks.ts';
import {
  EVENT_TEXTS,
  MAX_MESSAGE_BYTES,
  MAX_PREVIEW_BYTES,
  type ModelList,
  modelList,
  parseMetadata,
  type StageDone,
  type StageEvent,
  type StageOptions,
  type StagePreview,
  type StageProblem,
  type StageTensors,
  stageEvent,
  stageProblem,
  toMetadata,
} from './contract.ts';
import { readAtMost } from './read-at-most.ts';
import { DIRECT, leadTo, type Route, workerIn } from './route.ts';
import { encodeMessage, type Message, readMessages, SafetensorsError, type TensorData } from './safetensors.ts';
import { readThumbnail, type StageThumbnail } from './thumbnail.ts';
import { within } from './time-limit.ts';

export type StageFailure =
  /** `isAnswered`: an answer had begun before the connection broke; else nobody may be there */
  | { readonly reason: 'unreachable'; readonly detail: string; readonly isAnswered: boolean }
  | { readonly reason: 'refused'; readonly status: number; readonly code: string; readonly message: string }
  | { readonly reason: 'server_error'; readonly status: number }
  /** an answer that is not a stage server's: a proxy or gateway on the way gave it */
  | { readonly reason: 'gateway'; readonly status: number }
  | { readonly reason: 'invalid_response'; readonly detail: string }
  | { readonly reason: 'reported'; readonly code: string; readonly message: string; readonly retryable: boolean }
  | CallEnd;

export interface StageResult {
  readonly done: StageDone;
  /** [n, D], absent when the stage ends in an image */
  readonly latents: Float32Array | null;
  /** [n, D] of the clean estimate, where it was asked for */
  readonly clean: Float32Array | null;
  /** [h, w, 3] */
  readonly rgb: { readonly data: Uint8Array; readonly width: number; readonly height: number } | null;
  /** the preview, where it comes with the result; of a finished image null where none came that can be kept */
  readonly preview: Uint8Array | null;
  readonly image: Uint8Array | null;
  /**
   * the late preview that was asked for; null where none was. It settles when the picture has come, and with null when
   * it cannot come any more: the connection broke or fell silent, the server could not make it, the call was aborted.
   * It never rejects: the result stands without it
   */
  readonly behind: Promise<Behind | null> | null;
}

/** A preview that came behind its result, and the milliseconds that the server spent on it since. */
export interface Behind {
  readonly preview: Uint8Array;
  readonly decodeMs: number;
  readonly encodeMs: number;
}

export type StageOutcome =
  | { readonly ok: true; readonly result: StageResult }
  | { readonly ok: false; readonly failure: StageFailure };

export type StageProgress = Extract<StageEvent, { event: 'queued' | 'step' }>;

export interface StageCall extends ClockLimits {
  readonly id: string;
  readonly body: Uint8Array;
  readonly options: StageOptions;
  /**
   * what the answer must hold: latents [numTokens, numValues], steps done and how many of them were evaluated, and the
   * size of its pixels where they are asked for
   */
  readonly numTokens: number;
  readonly numValues: number;
  readonly steps: number;
  readonly evaluations: number;
  readonly rgbSize: { readonly width: number; readonly height: number };
  readonly onProgress: (event: StageProgress) => void;
  /** the worker behind a gateway that is asked rather than others; absent and null: any */
  readonly worker?: string | null;
  /** the gateway says which worker has the stage */
  readonly onWorker?: (worker: string) => void;
}

/** A call whose request is on its way. */
type SentCall = Omit<StageCall, 'body'>;
/** `hangUp` closes its connection. */
type AnsweredCall = SentCall & { readonly hangUp: () => void };
type Clocks = ReturnType<typeof startClocks>;

export interface StageServer {
  /** Runs a stage until its result is there; a late preview is behind it, see `StageResult`. */
  run(call: StageCall): Promise<StageOutcome>;
  /**
   * Asks the server to stop a stage at its next step, or to forget its kept result. Whether it was heard: false where
   * the server cannot be reached, is too slow, or something on the way answers, as it does for a worker that is gone.
   * `worker` is the one behind a gateway that has the stage, where one was named; no other is asked then.
   */
  cancel(id: string, worker?: string | null): Promise<boolean>;
  /**
   * A small picture of a stage on its way; null where there is none to see, and where anything goes wrong: nobody waits
   * for it. Only a server that has the feature `thumbnail` is to be asked. Behind a gateway that names its workers
   * nobody is asked without `worker`, lest another one is started for it. Given up with `signal`.
   */
  thumbnail(id: string, worker: string | null, signal: AbortSignal): Promise<StageThumbnail | null>;
  /** Its models, and the contract it speaks. Throws when it cannot be reached or answers something else or too much. */
  models(): Promise<ModelList>;
}

const CANCEL_TIMEOUT_MS = 10_000;
/**
 * A server that computes on its own thread answers between steps, and an answer takes up to three of them: the
 * connection, the request, the picture. Nothing waits for it.
 */
const THUMBNAIL_TIMEOUT_MS = 15_000;
const MODELS_TIMEOUT_MS = 5_000;
const DEFAULT_RETRY_AFTER_MS = 1_000;
/**
 * What gateways say where nobody is behind them; no stage server says so itself. From 521 on they are Cloudflare's:
 * https://developers.cloudflare.com/support/troubleshooting/http-status-codes/cloudflare-5xx-errors/
 */
const NOBODY_BEHIND: readonly number[] = [502, 521, 522, 523, 530];
/** How long a body may take to end behind its last message. */
const END_MS = 250;
const MAX_DETAIL = 300;
/** Most bytes read of an answer that is JSON: whoever stands in the server's place may send any amount. */
const MAX_PROBLEM_BYTES = 64 * 1024;
const MAX_MODELS_BYTES = 4 * 1024 * 1024;

/**
 * The bytes of a stage request. Law: equal options and tensors give equal bytes, so a repeated request attaches to the
 * running stage.
 */
export function encodeStageRequest(options: StageOptions, tensors: StageTensors): Uint8Array {
  const n = tensors.scale.length;
  return encodeMessage({
    metadata: toMetadata(options),
    tensors: {
      latents: { data: tensors.latents, shape: [n, tensors.latents.length / n] },
      img_ids: { data: tensors.imgIds, shape: [n, 3] },
      sigmas: { data: tensors.sigmas, shape: [tensors.sigmas.length] },
      scale: { data: tensors.scale, shape: [n] },
    },
  });
}

/** `job.stage.digest`: the digest is the first 16 hex digits of the body's SHA-256. */
export async function stageId(jobId: string, stage: number, body: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', body as Uint8Array<ArrayBuffer>));
  return `${jobId}.${stage}.${Array.from(digest.subarray(0, 8), (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** A stage server at `url`, reached through `fetcher` (the network, or a binding) with its token, by `route`. */
export function connectStageServer({
  fetcher,
  url,
  token,
  route = DIRECT,
}: {
  readonly fetcher: typeof fetch;
  readonly url: string;
  readonly token: string;
  readonly route?: Route;
}): StageServer {
  const address = (path: string) => new URL(path, url.endsWith('/') ? url : `${url}/`).href;
  const authorized = {
    ...route.headers,
    [route.tokenHeader]: route.tokenHeader === 'Authorization' ? `Bearer ${token}` : token,
  };
  const { affinity } = route;
  // a redirect would carry the headers, secrets among them, to wherever it leads
  const ask = (path: string, init: RequestInit) => fetcher(address(path), { ...init, redirect: 'manual' });

  return {
    run({ body, ...call }) {
      const clocks = startClocks(call);
      // whoever waits for the answer does not hold the body
      return follow(call, clocks, send(call, body, clocks.signal));
    },

    async cancel(id, worker = null) {
      const headers = { ...authorized, ...leadTo(affinity, id, { worker, how: 'only' }) };
      const isHeard = async (signal: AbortSignal): Promise<boolean> => {
        const response = await ask(`v1/stages/${id}`, { method: 'DELETE', headers, signal });
        if (response.status === 404) return (await readProblem(response, signal)) !== null;
        await response.body?.cancel();
        return response.status === 204;
      };
      return limited(CANCEL_TIMEOUT_MS, isHeard).catch(() => false);
    },

    async thumbnail(id, worker, given) {
      if (affinity?.by === 'worker' && worker === null) return null;
      const headers = { ...authorized, ...leadTo(affinity, id, { worker, how: 'only' }) };
      const look = async (limit: AbortSignal): Promise<StageThumbnail | null> => {
        const signal = AbortSignal.any([limit, given]);
        return readThumbnail(await ask(`v1/stages/${id}/thumbnail`, { headers, signal }), signal);
      };
      // an unreachable server, a slow or a broken answer: the next step has another
      return limited(THUMBNAIL_TIMEOUT_MS, look).catch(() => null);
    },

    models: () =>
      limited(MODELS_TIMEOUT_MS, async (signal) => {
        const response = await ask('v1/models', { headers: authorized, signal });
        if (!response.ok) {
          await response.body?.cancel();
          throw new Error(`answered ${response.status}`);
        }
        const bytes = await readAtMost(response.body, MAX_MODELS_BYTES, signal);
        if (!bytes) throw new Error(`answered with more than ${MAX_MODELS_BYTES} bytes`);
        const list = modelList.safeParse(parseJson(bytes));
        if (list.success) return list.data;
        const [issue] = list.error.issues;
        throw new Error(`answered something else than its models: ${issue?.path.join('.')} ${issue?.message}`);
      }),
  };

  async function send(
    { id, worker = null }: SentCall,
    body: StageCall['body'],
    signal: AbortSignal,
  ): Promise<Response> {
    const lead = leadTo(affinity, id, { worker, how: 'rather' });
    const headers = { ...authorized, ...lead, 'content-type': 'application/octet-stream' };
    return ask(`v1/stages/${id}`, { method: 'PUT', headers, body: body as Uint8Array<ArrayBuffer>, signal });
  }

  /** The outcome of a call whose request was sent, within its limits. */
  async function follow(call: SentCall, clocks: Clocks, sent: Promise<Response>): Promise<StageOutcome> {
    let behind: StageResult['behind'] = null;
    try {
      const onProgress: StageCall['onProgress'] = (event) => {
        // a body that ignores its signal may still speak when nobody waits for it any more
        if (clocks.signal.aborted) return;
        clocks.heard(event.event === 'queued' && event.position > 0);
        call.onProgress(event);
      };
      const work = readAnswer({ ...call, signal: clocks.signal, onProgress, hangUp: clocks.abort }, sent);
      // a body that ignores its signal must not hold the job: the abort itself ends the wait
      const outcome = await Promise.race([work, clocks.aborted.then(failed)]);
      if (!outcome.ok || !outcome.result.behind) return outcome;
      clocks.computed();
      behind = Promise.race([outcome.result.behind, clocks.aborted.then(() => null)]);
      return { ok: true, result: { ...outcome.result, behind } };
    } finally {
      if (behind) void behind.then(clocks.stop);
      else clocks.stop();
    }
  }

  async function readAnswer(call: AnsweredCall, sent: Promise<Response>): Promise<StageOutcome> {
    const response = await reach(sent);
    if (response instanceof Unreachable)
      return failed({ reason: 'unreachable', detail: response.message, isAnswered: false });
    const named = workerIn(affinity, response);
    if (named !== null && !call.signal.aborted) call.onWorker?.(named);
    if (response.status === 503 || response.status === 429) {
      await response.body?.cancel();
      return failed({ reason: 'busy', retryAfterMs: retryAfter(response.headers.get('retry-after')) });
    }
    if (NOBODY_BEHIND.includes(response.status)) {
      await response.body?.cancel();
      return failed({ reason: 'unreachable', detail: `a gateway answered ${response.status}`, isAnswered: false });
    }
    if (response.status >= 300 && response.status < 400) {
      await response.body?.cancel();
      return failed({ reason: 'gateway', status: response.status });
    }
    if (response.status >= 400 && response.status < 500 && response.status !== 408) {
      const problem = await readProblem(response, call.signal);
      if (!problem) return failed({ reason: 'gateway', status: response.status });
      const { code, message } = problem;
      return failed({ reason: 'refused', status: response.status, code, message: message.slice(0, MAX_DETAIL) });
    }
    if (response.status !== 200 || !response.body) {
      await response.body?.cancel();
      return failed({ reason: 'server_error', status: response.status });
    }
    return readOutcome(response.body, call);
  }
}

/**
 * What `work` gives. After `ms` its signal ends it, and where it does not heed that, the wait for it. Rejects with what
 * it rejects with, or with TookTooLong.
 */
async function limited<T>(ms: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  try {
    return await within(ms, 'the stage server', work(controller.signal));
  } finally {
    controller.abort();
  }
}

const failed = (failure: StageFailure): StageOutcome => ({ ok: false, failure });

/** A connection that could not be made or broke: what the network throws, told apart from what anything else throws. */
class Unreachable extends Error {
  override name = 'Unreachable';
}

/** What the network gives, or its failure as a value. */
const reach = <T>(result: Promise<T>): Promise<T | Unreachable> =>
  result.catch((error) => new Unreachable(sentence(error)));

class InvalidResponse extends Error {
  override name = 'InvalidResponse';
}

/** Throws SyntaxError when the bytes are not JSON. */
const parseJson = (bytes: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(bytes));

/** Why a stage server refuses; null where the answer is not a stage server's, or breaks off. */
async function readProblem({ body }: Response, signal: AbortSignal): Promise<StageProblem | null> {
  try {
    const bytes = await readAtMost(body, MAX_PROBLEM_BYTES, signal);
    return bytes && stageProblem.parse(parseJson(bytes));
  } catch {
    return null; // a connection that broke, text that is no JSON, or JSON that is no problem of ours
  }
}

const sentence = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).slice(0, MAX_DETAIL);

function retryAfter(header: string | null): number {
  const seconds = Number(header);
  return header !== null && Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : DEFAULT_RETRY_AFTER_MS;
}

function parseEvent(message: Message): StageEvent {
  let values: Record<string, unknown>;
  try {
    values = parseMetadata(message.metadata, EVENT_TEXTS);
  } catch {
    throw new InvalidResponse('a message whose metadata is not JSON');
  }
  const event = stageEvent.safeParse(values);
  if (!event.success)
    throw new InvalidResponse(
      `a message that is no stage event: ${event.error.issues[0]?.path.join('.')} ${event.error.issues[0]?.message}`,
    );
  return event.data;
}

async function readOutcome(body: ReadableStream<Uint8Array>, call: AnsweredCall): Promise<StageOutcome> {
  const messages = readMessages(body, MAX_MESSAGE_BYTES);
  let isLast = false;
  try {
    for (;;) {
      const next = await nextMessage(messages);
      if (next instanceof Unreachable) return failed({ reason: 'unreachable', detail: next.message, isAnswered: true });
      if (next.done) throw new InvalidResponse('the body ends without done or error');
      const event = parseEvent(next.value);
      switch (event.event) {
        case 'queued':
        case 'step':
          call.onProgress(event);
          break;
        case 'error':
          isLast = true;
          void letGo(messages, call);
          return failed({
            reason: 'reported',
            code: event.code,
            message: event.message.slice(0, MAX_DETAIL),
            retryable: event.retryable,
          });
        case 'preview':
          throw new InvalidResponse('a preview before done');
        case 'done': {
          const result = checkResult(next.value, event, call);
          isLast = true;
          const behind = call.options.late_preview ? readBehind(messages, call) : null;
          if (!behind) void letGo(messages, call);
          return { ok: true, result: { ...result, behind } };
        }
      }
    }
  } catch (error) {
    if (error instanceof SafetensorsError || error instanceof InvalidResponse)
      return failed({ reason: 'invalid_response', detail: sentence(error) });
    throw error;
  } finally {
    if (!isLast) await messages.return(undefined);
  }
}

/**
 * Nothing more is wanted of a body but its end, which is near: a connection whose body was read to it can be used
 * again, and any other is closed.
 */
async function letGo(messages: AsyncGenerator<Message>, { hangUp }: Pick<AnsweredCall, 'hangUp'>): Promise<void> {
  const timer = setTimeout(hangUp, END_MS);
  await messages.next().catch(() => null);
  clearTimeout(timer);
  await messages.return(undefined).catch(() => null);
}

/**
 * The preview that follows a result, and the connection is let go; null where anything else comes, or nothing more. It
 * ends with the body, so whoever waits sets the limits.
 */
async function readBehind(messages: AsyncGenerator<Message>, call: AnsweredCall): Promise<Behind | null> {
  try {
    const { done, value } = await messages.next();
    const event = done ? null : parseEvent(value);
    return event?.event === 'preview' ? checkBehind(value, event) : null;
  } catch {
    return null; // a connection that broke, or bytes that are no message of ours: the result stands
  } finally {
    void letGo(messages, call);
  }
}

function checkBehind(message: Message, { decode_ms, encode_ms }: StagePreview): Behind {
  return { preview: takePreview(message), decodeMs: decode_ms, encodeMs: encode_ms };
}

/** The next message; a broken connection is a value, a broken format stays an error. */
const nextMessage = (messages: AsyncGenerator<Message>): Promise<IteratorResult<Message> | Unreachable> =>
  messages.next().catch((error) => {
    if (error instanceof SafetensorsError) throw error;
    return new Unreachable(sentence(error));
  });

/** The tensors of a `done` message, once they are what the call asked for: right type, right size, finite. */
function checkResult(
  message: Message,
  done: StageDone,
  { options, numTokens, numValues, steps, evaluations, rgbSize }: SentCall,
): Omit<StageResult, 'behind'> {
  if (done.steps_done !== steps) throw new InvalidResponse(`${done.steps_done} steps done, ${steps} asked for`);
  // a server that knows no cache evaluates every step, and need not say so
  if ((done.evaluations ?? done.steps_done) !== evaluations)
    throw new InvalidResponse(`${done.evaluations ?? 'unstated'} evaluations, ${evaluations} asked for`);
  const latents = options.decode === 'image' ? null : take(message, 'latents', Float32Array);
  if (latents) expectShape('latents', latents.shape, [numTokens, numValues]);
  if (latents && firstNotFinite(latents.data) >= 0) throw new InvalidResponse('latents that are not finite');
  const clean = options.clean_latents ? take(message, 'clean_latents', Float32Array) : null;
  if (clean) expectShape('clean_latents', clean.shape, [numTokens, numValues]);
  if (clean && firstNotFinite(clean.data) >= 0) throw new InvalidResponse('clean_latents that are not finite');
  const rgb = options.rgb ? take(message, 'rgb', Uint8Array) : null;
  if (rgb) expectShape('rgb', rgb.shape, [rgbSize.height, rgbSize.width, 3]);
  const isWithPreview = options.preview && !options.late_preview;
  // a finished image is good without one
  const isOptional = options.decode === 'image' && !hasPreview(message);
  const preview = isWithPreview && !isOptional ? takePreview(message) : null;
  const image = options.decode === 'image' ? take(message, 'image', Uint8Array).data : null;
  if (image && image.length === 0) throw new InvalidResponse('an empty image');
  return {
    done,
    latents: latents?.data ?? null,
    clean: clean?.data ?? null,
    rgb: rgb && { data: rgb.data, ...rgbSize },
    preview,
    image,
  };
}

function expectShape(name: string, got: readonly number[], expected: readonly number[]): void {
  if (got.join() !== expected.join()) throw new InvalidResponse(`${name} of shape [${got}], expected [${expected}]`);
}

const hasPreview = ({ tensors: { preview } }: Message): boolean =>
  preview?.data instanceof Uint8Array && preview.data.length <= MAX_PREVIEW_BYTES;

function takePreview(message: Message): Uint8Array {
  const { data } = take(message, 'preview', Uint8Array);
  if (data.length > MAX_PREVIEW_BYTES)
    throw new InvalidResponse(`a preview of ${data.length} bytes, the limit is ${MAX_PREVIEW_BYTES}`);
  return data;
}

function take<T extends TensorData>(
  message: Message,
  name: string,
  type: new (length: number) => T,
): { data: T; shape: readonly number[] } {
  const tensor = message.tensors[name];
  if (!tensor) throw new InvalidResponse(`${message.metadata.event} without ${name}`);
  if (!(tensor.data instanceof type)) throw new InvalidResponse(`${name} is not of type ${type.name}`);
  return { data: tensor.data as T, shape: tensor.shape };
}
