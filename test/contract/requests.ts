/** Stage requests for any model, right by default and wrong on demand, and the reading of what comes back. */
import { canBeStaged, type Size } from '../../src/numerics/grid.ts';
import {
  EVENT_TEXTS,
  MAX_MESSAGE_BYTES,
  type ModelFacts,
  parseMetadata,
  type StageDone,
  type StageEvent,
  type StagePreview,
  stageEvent,
  toMetadata,
} from '../../src/stage/contract.ts';
import { encodeMessage, readMessages, type Tensor } from '../../src/stage/safetensors.ts';

export interface Target {
  readonly url: string;
  readonly token: string;
}

/**
 * Where tokens lie: all low, all full, the top left low token upsampled, or every one upsampled but still on the small
 * grid's ids.
 */
export type Layout = 'low' | 'full' | 'mixed' | 'all-upsampled';

export interface RequestShape {
  readonly layout?: Layout;
  /** the smallest with an even grid when left out */
  readonly size?: Size;
  readonly sigmas?: readonly number[];
  readonly options?: Readonly<Record<string, unknown>>;
  /** replaced tensors; null leaves one out */
  readonly tensors?: Readonly<Record<string, Tensor | null>>;
  /** replaced metadata as it goes on the wire; null leaves a key out */
  readonly metadata?: Readonly<Record<string, string | null>>;
}

/** Whether a size has a grid of half its size: stages of low tokens need one. */
export const hasEvenGrid = ({ token_pixels }: ModelFacts, size: Size): boolean => canBeStaged(size, token_pixels);

/** The smallest size with an even grid that a model offers. Throws RangeError where there is none. */
export function smallest(facts: ModelFacts): Size {
  const [first, ...others] = facts.sizes.filter((size) => hasEvenGrid(facts, size));
  if (!first) throw new RangeError(`${facts.id} offers no size whose grid of tokens has even sides`);
  return others.reduce((least, size) => (size.width * size.height < least.width * least.height ? size : least), first);
}

/** Ids and scales of a layout. Low tokens need an even grid. */
export function tokensOf(
  facts: ModelFacts,
  layout: Layout,
  { width, height }: Size = smallest(facts),
): { imgIds: Float32Array; scale: Uint8Array } {
  const halves = layout === 'full' ? 1 : 2;
  const rows = height / facts.token_pixels / halves;
  const cols = width / facts.token_pixels / halves;
  const low: [number, number][] = Array.from({ length: rows * cols }, (_, i) => [Math.floor(i / cols), i % cols]);
  const children = ([row, col]: [number, number]): [number, number][] => [
    [row, col],
    [row, col + 0.5],
    [row + 0.5, col],
    [row + 0.5, col + 0.5],
  ];
  const numUpsampled = { low: 0, full: 0, mixed: 1, 'all-upsampled': low.length }[layout];
  const kept = low.slice(numUpsampled);
  const places = [...kept, ...low.slice(0, numUpsampled).flatMap(children)];
  return {
    imgIds: Float32Array.from(places.flatMap(([row, col]) => [0, row, col])),
    scale: Uint8Array.from(places, (_, i) => (layout !== 'full' && i < kept.length ? 2 : 1)),
  };
}

/** `steps` even steps from `from` down to `to`. */
export const evenSigmas = (steps: number, from = 1, to = 0): number[] =>
  Array.from({ length: steps + 1 }, (_, i) => (i === steps ? to : from - ((from - to) * i) / steps));

/** A reproducible array of about normal size; no law hangs on its distribution. */
export const seededLatents = (length: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => 2 * Math.sin(12.9898 * (i + 1) + 0.3));

/** What every request asks for that names no other prompt. No answer but an image may repeat it. */
export const PROMPT = 'a red apple';

export function stageBody(
  facts: ModelFacts,
  {
    layout = 'low',
    size = smallest(facts),
    sigmas = evenSigmas(2),
    options = {},
    tensors = {},
    metadata = {},
  }: RequestShape = {},
): Uint8Array {
  const { imgIds, scale } = tokensOf(facts, layout, size);
  const n = scale.length;
  const d = 4 * facts.channels;
  const text = toMetadata({
    model: facts.id,
    prompt: PROMPT,
    negative_prompt: '',
    guidance: facts.guidance?.default ?? null,
    ...size,
    decode: 'none',
    rgb: options.decode === 'clean',
    format: 'png',
    quality: 80,
    preview: null,
    cache: null,
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    ...options,
  });
  const all: Record<string, Tensor | null> = {
    latents: { data: seededLatents(n * d), shape: [n, d] },
    img_ids: { data: imgIds, shape: [n, 3] },
    sigmas: { data: Float32Array.from(sigmas), shape: [sigmas.length] },
    scale: { data: scale, shape: [n] },
    ...tensors,
  };
  const present = <T>(record: Readonly<Record<string, T | null>>) =>
    Object.fromEntries(Object.entries(record).filter((entry): entry is [string, T] => entry[1] !== null));
  return encodeMessage({ metadata: present({ ...text, ...metadata }), tensors: present(all) });
}

export const freshId = (): string => `job-${crypto.randomUUID()}.1.0123456789abcdef`;

export function call(
  { url, token }: Target,
  method: string,
  path: string,
  init: { body?: Uint8Array; signal?: AbortSignal; token?: string | null } = {},
): Promise<Response> {
  const bearer = init.token === undefined ? token : init.token;
  return fetch(new URL(path, url), {
    method,
    headers: bearer === null ? {} : { authorization: `Bearer ${bearer}` },
    ...(init.body ? { body: init.body as Uint8Array<ArrayBuffer> } : {}),
    ...(init.signal ? { signal: init.signal } : {}),
  });
}

export const put = (target: Target, id: string, body: Uint8Array, signal?: AbortSignal): Promise<Response> =>
  call(target, 'PUT', `v1/stages/${id}`, { body, ...(signal ? { signal } : {}) });

export interface Received {
  readonly event: StageEvent;
  readonly tensors: Readonly<Record<string, Tensor>>;
}

/** The messages of a response as they come, each checked against the contract. */
export async function* messages(response: Response): AsyncGenerator<Received> {
  if (response.status !== 200 || !response.body) throw new Error(`status ${response.status}: ${await response.text()}`);
  for await (const { metadata, tensors } of readMessages(response.body, MAX_MESSAGE_BYTES))
    yield { event: stageEvent.parse(parseMetadata(metadata, EVENT_TEXTS)), tensors };
}

/** All that is still to come. */
export async function rest<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of stream) all.push(item);
  return all;
}

export const collect = (response: Response): Promise<Received[]> => rest(messages(response));

/**
 * A stage run to its end: its `done`, the tensors with it, the late preview behind it, and all messages. Throws when it
 * ends otherwise.
 */
export async function finish(response: Response): Promise<{
  done: StageDone;
  tensors: Received['tensors'];
  behind: { event: StagePreview; tensors: Received['tensors'] } | null;
  all: Received[];
}> {
  const all = await collect(response);
  const last = all.at(-1);
  const behind = last?.event.event === 'preview' ? { event: last.event, tensors: last.tensors } : null;
  const result = behind ? all.at(-2) : last;
  if (result?.event.event !== 'done') throw new Error(`ended with ${JSON.stringify(last?.event)}`);
  return { done: result.event, tensors: result.tensors, behind, all };
}

/** Reads until the first event of this kind and gives the rest of the stream back. */
export async function readUntil(stream: AsyncGenerator<Received>, kind: StageEvent['event']): Promise<Received> {
  for (let next = await stream.next(); !next.done; next = await stream.next())
    if (next.value.event.event === kind) return next.value;
  throw new Error(`the stream ended without ${kind}`);
}
