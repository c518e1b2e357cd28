/**
 * The one binary format between the job object and a stage server: safetensors messages.
 *
 *   [u64 little-endian: length of header][header: JSON][data]
 *
 * A message says its own length, so a body may hold a sequence of them and a reader needs no other framing.
 * Source: https://huggingface.co/docs/safetensors (format section).
 */

export type TensorData = Float32Array | Uint8Array;

/** A row-major array with its shape; `data.length` equals the product of `shape`. */
export interface Tensor<T extends TensorData = TensorData> {
  readonly data: T;
  readonly shape: readonly number[];
}

/** One safetensors message. Metadata values are strings, as the format demands; structured ones are JSON text. */
export interface Message {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: Readonly<Record<string, Tensor>>;
}

/** Bytes that are not a safetensors message, with the place where they stop being one. */
export class SafetensorsError extends Error {
  override name = 'SafetensorsError';
}

const UTF8 = new TextEncoder();
const FATAL_UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });
const NOTHING: Uint8Array = new Uint8Array(0);
const PREFIX_BYTES = 8;
/** Longest header accepted; ours are a few hundred bytes plus the prompt. */
export const MAX_HEADER_BYTES = 512 * 1024;

const numElements = (shape: readonly number[]): number => shape.reduce((product, side) => product * side, 1);

/**
 * One message as bytes. Tensors stand in the order of their names' insertion; the header is padded with spaces to a
 * multiple of 8 bytes, so Float32 data that comes first is aligned. Law: `decodeMessage(encodeMessage(m))` equals `m`,
 * and equal messages give equal bytes. Throws RangeError when a tensor's data does not fill its shape or its name is
 * the format's own `__metadata__`.
 */
export function encodeMessage(message: Message): Uint8Array {
  const header: [string, unknown][] = [['__metadata__', message.metadata]];
  let offset = 0;
  for (const [name, { data, shape }] of Object.entries(message.tensors)) {
    if (name === '__metadata__') throw new RangeError('a tensor may not be named __metadata__');
    if (data.length !== numElements(shape))
      throw new RangeError(`tensor ${name}: ${data.length} values do not fill shape [${shape}]`);
    const dtype = data instanceof Float32Array ? 'F32' : 'U8';
    header.push([name, { dtype, shape, data_offsets: [offset, offset + data.byteLength] }]);
    offset += data.byteLength;
  }
  const text = UTF8.encode(JSON.stringify(Object.fromEntries(header)));
  const headerBytes = Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(PREFIX_BYTES + headerBytes + offset);
  // its upper half is 0
  new DataView(bytes.buffer).setUint32(0, headerBytes, true);
  bytes.set(text, PREFIX_BYTES);
  bytes.fill(0x20, PREFIX_BYTES + text.length, PREFIX_BYTES + headerBytes);
  let at = PREFIX_BYTES + headerBytes;
  for (const { data } of Object.values(message.tensors)) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}

interface Entry {
  readonly dtype: 'F32' | 'U8';
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

interface Header {
  readonly metadata: Record<string, string>;
  readonly entries: readonly (readonly [string, Entry])[];
  readonly dataBytes: number;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isSize = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

function parseEntry(name: string, value: unknown): Entry {
  const fail = (why: string) => new SafetensorsError(`tensor ${name}: ${why}`);
  if (!isRecord(value)) throw fail('its entry is not an object');
  const { dtype, shape, data_offsets: offsets } = value;
  if (dtype !== 'F32' && dtype !== 'U8') throw fail(`dtype ${JSON.stringify(dtype)} is not F32 or U8`);
  if (!Array.isArray(shape) || !shape.every(isSize)) throw fail('shape is not a list of sizes');
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
    throw fail('data_offsets is not a pair of offsets');
  const [begin, end] = offsets as [number, number];
  const expected = numElements(shape) * (dtype === 'F32' ? 4 : 1);
  if (end - begin !== expected) throw fail(`${end - begin} bytes do not fill ${dtype} [${shape}]`);
  return { dtype, shape, begin, end };
}

function parseHeader(text: Uint8Array): Header {
  let header: unknown;
  try {
    header = JSON.parse(FATAL_UTF8.decode(text));
  } catch {
    throw new SafetensorsError('the header is not JSON');
  }
  if (!isRecord(header)) throw new SafetensorsError('the header is not an object');
  const metadata: [string, string][] = [];
  const entries: [string, Entry][] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name !== '__metadata__') {
      entries.push([name, parseEntry(name, value)]);
      continue;
    }
    if (!isRecord(value)) throw new SafetensorsError('__metadata__ is not an object');
    for (const [key, text] of Object.entries(value)) {
      if (typeof text !== 'string') throw new SafetensorsError(`__metadata__.${key} is not a string`);
      metadata.push([key, text]);
    }
  }
  // the format leaves no holes and no overlaps: each begins where the last ended
  let dataBytes = 0;
  for (const [name, { begin, end }] of inOrder(entries)) {
    if (begin !== dataBytes) throw new SafetensorsError(`tensor ${name}: begins at ${begin}, expected ${dataBytes}`);
    dataBytes = end;
  }
  // fromEntries, not assignment: a key may be called __proto__
  return { metadata: Object.fromEntries(metadata), entries, dataBytes };
}

/** Entries in the order of their data; an empty tensor before the one that begins with it. */
const inOrder = (entries: Header['entries']): Header['entries'] =>
  [...entries].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);

function headerLength(prefix: Uint8Array): number {
  const view = new DataView(prefix.buffer, prefix.byteOffset, PREFIX_BYTES);
  const [low, high] = [view.getUint32(0, true), view.getUint32(4, true)];
  if (high > 0 || low > MAX_HEADER_BYTES)
    throw new SafetensorsError(
      `a header of ${view.getBigUint64(0, true)} bytes is over the limit of ${MAX_HEADER_BYTES}`,
    );
  return low;
}

/** The message of a header and the bytes of its tensors, each in a buffer of its own: none pins another. */
function materialise({ metadata, entries }: Header, bytesOf: (entry: Entry) => Uint8Array): Message {
  const tensors = entries.map(([name, entry]): [string, Tensor] => {
    const { dtype, shape } = entry;
    const bytes = bytesOf(entry);
    return [name, { shape, data: dtype === 'F32' ? new Float32Array(bytes.buffer) : bytes }];
  });
  return { metadata, tensors: Object.fromEntries(tensors) };
}

/** The one message that `bytes` holds. Throws SafetensorsError when it is malformed, cut, or followed by anything. */
export function decodeMessage(bytes: Uint8Array): Message {
  if (bytes.length < PREFIX_BYTES) throw new SafetensorsError(`${bytes.length} bytes are too few for a message`);
  const length = headerLength(bytes);
  const dataAt = PREFIX_BYTES + length;
  if (bytes.length < dataAt)
    throw new SafetensorsError(`the header says ${length} bytes, ${bytes.length - PREFIX_BYTES} follow`);
  const header = parseHeader(bytes.subarray(PREFIX_BYTES, dataAt));
  if (bytes.length - dataAt !== header.dataBytes)
    throw new SafetensorsError(`the header says ${header.dataBytes} bytes of data, ${bytes.length - dataAt} follow`);
  // not `slice`: Node's Buffer has one that copies nothing
  return materialise(header, ({ begin, end }) => new Uint8Array(bytes.subarray(dataAt + begin, dataAt + end)));
}

/**
 * The messages of a body, each as soon as its last byte is there. Leaving the loop cancels the body.
 * Throws SafetensorsError when the body ends inside a message, a header is malformed, or a message is over `maxBytes`.
 */
export async function* readMessages(body: ReadableStream<Uint8Array>, maxBytes: number): AsyncGenerator<Message> {
  const reader = body.getReader();
  let rest = NOTHING;

  /** Waits for more bytes; false where the body has ended. */
  async function readMore(): Promise<boolean> {
    while (rest.length === 0) {
      const { done, value } = await reader.read();
      if (done) return false;
      rest = value;
    }
    return true;
  }

  /** Those of the next bytes that `bytes` has room for from `at` on; where the next begin. */
  function fill(bytes: Uint8Array, at: number): number {
    const part = rest.subarray(0, bytes.length - at);
    bytes.set(part, at);
    // an empty rest does not pin what it came in
    rest = part.length === rest.length ? NOTHING : rest.subarray(part.length);
    return at + part.length;
  }

  /** `bytes`, whole from `at` on; `more` follow them in the same message. */
  async function filled(bytes: Uint8Array, at: number, more: number): Promise<Uint8Array> {
    for (let end = at; end < bytes.length; end = fill(bytes, end))
      if (rest.length === 0 && !(await readMore()))
        throw new SafetensorsError(`the body ends ${bytes.length - end + more} bytes before its message does`);
    return bytes;
  }

  /** The next `count` bytes in a buffer of their own; `more` follow them. Waits only where they are not there yet. */
  function take(count: number, more = 0): Uint8Array | Promise<Uint8Array> {
    const bytes = new Uint8Array(count);
    const at = fill(bytes, 0);
    return at === count ? bytes : filled(bytes, at, more);
  }

  try {
    while (rest.length > 0 || (await readMore())) {
      const prefix = take(PREFIX_BYTES);
      const length = headerLength(prefix instanceof Uint8Array ? prefix : await prefix);
      const text = take(length);
      const header = parseHeader(text instanceof Uint8Array ? text : await text);
      if (length + header.dataBytes > maxBytes)
        throw new SafetensorsError(`a message of ${length + header.dataBytes} bytes is over the limit of ${maxBytes}`);
      const data = new Map<Entry, Uint8Array>();
      for (const [, entry] of inOrder(header.entries))
        data.set(entry, await take(entry.end - entry.begin, header.dataBytes - entry.end));
      yield materialise(header, (entry) => data.get(entry) as Uint8Array);
    }
  } finally {
    await reader.cancel().catch(() => {}); // the body may be broken already; there is nothing left to lose
  }
}
