/** Laws of the binary format, and every way a message can be wrong. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeMessage,
  encodeMessage,
  MAX_HEADER_BYTES,
  type Message,
  readMessages,
  SafetensorsError,
  type Tensor,
} from '../../src/stage/safetensors.ts';
import { rest } from './requests.ts';

const LIMIT = 1 << 20;

const shape = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 });
const numElements = (sides: readonly number[]) => sides.reduce((product, side) => product * side, 1);
const tensor: fc.Arbitrary<Tensor> = fc.tuple(shape, fc.boolean()).chain(([sides, isFloat]) => {
  const length = { minLength: numElements(sides), maxLength: numElements(sides) };
  return (isFloat ? fc.float32Array(length) : fc.uint8Array(length)).map((data) => ({ data, shape: sides }));
});
const name = fc.string({ unit: 'grapheme', maxLength: 8 }).filter((text) => text !== '__metadata__');
const message: fc.Arbitrary<Message> = fc.record({
  metadata: fc.dictionary(name, fc.string({ unit: 'grapheme' })),
  tensors: fc.dictionary(name, tensor, { maxKeys: 5 }),
});

/** Float32 NaN, -0 and the order of tensors included: the bytes of the data and its place. */
const plain = ({ metadata, tensors }: Message) => ({
  metadata: Object.entries(metadata).sort(),
  tensors: Object.entries(tensors)
    .map(([key, { data, shape: sides }]) => [
      key,
      data.constructor.name,
      [...sides],
      Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex'),
    ])
    .sort(),
});

const EXAMPLE: Message = {
  metadata: { event: 'done', note: 'é🦊' },
  tensors: {
    latents: { data: Float32Array.of(1, -2, 3.5), shape: [3, 1] },
    rgb: { data: Uint8Array.of(1, 2, 3), shape: [3] },
  },
};

/** A message whose header is this text, followed by so much data. */
function withHeader(header: unknown, dataBytes = 0): Uint8Array {
  const text = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

function streamOf(...chunks: readonly Uint8Array[]): { body: ReadableStream<Uint8Array>; isCancelled: () => boolean } {
  let cancelled = false;
  const waiting = [...chunks];
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const chunk = waiting.shift();
      if (chunk) controller.enqueue(chunk);
      else controller.close();
    },
    cancel() {
      cancelled = true;
    },
  });
  return { body, isCancelled: () => cancelled };
}

const readAll = (body: ReadableStream<Uint8Array>, limit = LIMIT) => rest(readMessages(body, limit));
const concat = (...parts: readonly Uint8Array[]) => new Uint8Array(Buffer.concat(parts));

describe('one message', () => {
  test('decoding undoes encoding, whatever the names, shapes and values', () => {
    fc.assert(
      fc.property(
        message,
        (original) => void expect(plain(decodeMessage(encodeMessage(original)))).toEqual(plain(original)),
      ),
    );
  });

  test('equal messages are equal bytes, and data begins at a multiple of 8', () => {
    fc.assert(
      fc.property(message, (original) => {
        const bytes = encodeMessage(original);
        expect(Buffer.from(bytes).equals(encodeMessage(decodeMessage(bytes)))).toBe(true);
        expect(new DataView(bytes.buffer).getBigUint64(0, true) % 8n).toBe(0n);
      }),
    );
  });

  test('a name may be one that objects have already', () => {
    const tensors = Object.fromEntries([
      ['__proto__', EXAMPLE.tensors.rgb as Tensor],
      ['constructor', EXAMPLE.tensors.rgb as Tensor],
    ]);
    const original = { metadata: Object.fromEntries([['__proto__', 'x']]), tensors };
    expect(plain(decodeMessage(encodeMessage(original)))).toEqual(plain(original));
  });

  test('decodes the same from a view, at an odd offset, and from a Node Buffer, and shares no memory with it', () => {
    const bytes = encodeMessage(EXAMPLE);
    const odd = concat(Uint8Array.of(9), bytes).subarray(1);
    const buffer = Buffer.from(odd);
    for (const source of [bytes, odd, buffer]) {
      const decoded = decodeMessage(source);
      expect(plain(decoded)).toEqual(plain(EXAMPLE));
      source.fill(0);
      expect(plain(decoded)).toEqual(plain(EXAMPLE));
    }
  });

  test('tensors may stand in any order in the header, an empty one after the one it begins with', () => {
    const header = {
      b: { dtype: 'U8', shape: [2], data_offsets: [4, 6] },
      empty: { dtype: 'U8', shape: [0], data_offsets: [4, 4] },
      a: { dtype: 'F32', shape: [], data_offsets: [0, 4] },
    };
    expect(Object.keys(decodeMessage(withHeader(header, 6)).tensors)).toEqual(['b', 'empty', 'a']);
  });

  test('what does not fill its shape, or is called __metadata__, cannot be encoded', () => {
    expect(() => encodeMessage({ metadata: {}, tensors: { x: { data: new Uint8Array(3), shape: [2, 2] } } })).toThrow(
      /tensor x: 3 values do not fill shape \[2,2\]/,
    );
    expect(() =>
      encodeMessage({ metadata: {}, tensors: { __metadata__: { data: new Uint8Array(1), shape: [1] } } }),
    ).toThrow(RangeError);
  });

  test('cut anywhere, or followed by anything, it is no message', () => {
    const bytes = encodeMessage(EXAMPLE);
    for (let length = 0; length < bytes.length; length++)
      expect(() => decodeMessage(bytes.subarray(0, length))).toThrow(SafetensorsError);
    expect(() => decodeMessage(concat(bytes, Uint8Array.of(0)))).toThrow(/data, 16 follow/);
  });

  test('no byte that changes makes it anything but a message or a SafetensorsError', () => {
    const bytes = encodeMessage(EXAMPLE);
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
        const changed = bytes.slice();
        changed[at] = value;
        try {
          decodeMessage(changed);
        } catch (error) {
          expect(error).toBeInstanceOf(SafetensorsError);
        }
      }),
      { numRuns: 500 },
    );
  });

  const entry = (change: object) => ({ x: { dtype: 'U8', shape: [2], data_offsets: [0, 2], ...change } });
  test.each([
    ['a header that is not JSON', '{', 0, /not JSON/],
    ['a header that is not UTF-8', null, 0, /not JSON/],
    ['a header that is a list', [], 0, /not an object/],
    ['a header that is null', 'null', 0, /not an object/],
    ['metadata that is a text', { __metadata__: 'x' }, 0, /__metadata__ is not an object/],
    ['a metadata value that is a number', { __metadata__: { n: 1 } }, 0, /__metadata__\.n is not a string/],
    ['an entry that is a number', { x: 1 }, 0, /tensor x: its entry/],
    ['another dtype', entry({ dtype: 'F64' }), 2, /dtype "F64"/],
    ['no dtype', entry({ dtype: undefined }), 2, /dtype/],
    ['a shape that is a number', entry({ shape: 2 }), 2, /shape/],
    ['a negative side', entry({ shape: [-2] }), 2, /shape/],
    ['half a side', entry({ shape: [0.5, 4] }), 2, /shape/],
    ['one offset', entry({ data_offsets: [0] }), 2, /data_offsets/],
    ['a negative offset', entry({ data_offsets: [-2, 0] }), 2, /data_offsets/],
    ['offsets the wrong way round', entry({ data_offsets: [2, 0] }), 2, /-2 bytes/],
    ['fewer bytes than the shape', entry({ shape: [3] }), 2, /2 bytes do not fill U8 \[3\]/],
    ['a shape too large to be true', entry({ shape: [2 ** 40, 2 ** 40] }), 2, /do not fill/],
    ['data that begins late', entry({ data_offsets: [1, 3] }), 3, /begins at 1, expected 0/],
    [
      'tensors that overlap',
      { ...entry({}), y: { dtype: 'U8', shape: [2], data_offsets: [1, 3] } },
      3,
      /tensor y: begins at 1, expected 2/,
    ],
    [
      'a hole between tensors',
      { ...entry({}), y: { dtype: 'U8', shape: [1], data_offsets: [3, 4] } },
      4,
      /begins at 3, expected 2/,
    ],
    ['data nobody owns', entry({}), 3, /2 bytes of data, 3 follow/],
  ])('%s is refused', (_, header, dataBytes, says) => {
    const bytes =
      header === null
        ? concat(withHeader('  ').subarray(0, 8), Uint8Array.of(0xff, 0xfe))
        : withHeader(header, dataBytes);
    expect(() => decodeMessage(bytes)).toThrow(SafetensorsError);
    expect(() => decodeMessage(bytes)).toThrow(says);
  });

  test('a header over the limit is refused by its length alone', () => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(MAX_HEADER_BYTES + 1), true);
    expect(() => decodeMessage(bytes)).toThrow(/over the limit/);
    bytes.fill(255);
    expect(() => decodeMessage(bytes)).toThrow(/18446744073709551615 bytes is over the limit/);
  });
});

describe('a sequence of messages', () => {
  const other: Message = { metadata: { event: 'step' }, tensors: {} };
  const body = concat(encodeMessage(other), encodeMessage(EXAMPLE), encodeMessage(other));
  const expected = [other, EXAMPLE, other].map(plain);

  test('is read alike wherever the chunks are cut', async () => {
    for (let cut = 0; cut <= body.length; cut++) {
      const { body: stream } = streamOf(body.subarray(0, cut), body.subarray(cut));
      expect((await readAll(stream)).map(plain)).toEqual(expected);
    }
    const { body: bytewise } = streamOf(...Array.from(body, (byte) => Uint8Array.of(byte)));
    expect((await readAll(bytewise)).map(plain)).toEqual(expected);
  });

  test('of any messages in any chunks is those messages', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(message, { maxLength: 4 }),
        fc.infiniteStream(fc.integer({ min: 0, max: 40 })),
        async (all, sizes) => {
          const bytes = concat(...all.map(encodeMessage));
          const chunks: Uint8Array[] = [];
          for (let at = 0; at < bytes.length; ) {
            const size = sizes.next().value as number;
            chunks.push(bytes.subarray(at, at + size));
            at += size;
          }
          expect((await readAll(streamOf(...chunks).body)).map(plain)).toEqual(all.map(plain));
        },
      ),
      { numRuns: 50 },
    );
  });

  test('gives tensors that hold nothing but their own bytes', async () => {
    const [read] = await readAll(streamOf(concat(encodeMessage(EXAMPLE), encodeMessage(other))).body);
    for (const { data } of Object.values((read as Message).tensors))
      expect(data.buffer.byteLength).toBe(data.byteLength);
  });

  test('gives each message as soon as its last byte is there', async () => {
    const open = new TransformStream<Uint8Array, Uint8Array>();
    const reader = readMessages(open.readable, LIMIT);
    void open.writable.getWriter().write(encodeMessage(other));
    expect(plain((await reader.next()).value as Message)).toEqual(plain(other));
    await reader.return(undefined);
  });

  test('that ends inside a message is refused, after the whole ones were given', async () => {
    const firstLength = encodeMessage(other).length;
    for (let length = firstLength + 1; length < body.length - firstLength; length += 7) {
      const reader = readMessages(streamOf(body.subarray(0, length)).body, LIMIT);
      expect(plain((await reader.next()).value as Message)).toEqual(plain(other));
      await expect(reader.next()).rejects.toThrow(SafetensorsError);
    }
  });

  test('of nothing is empty', async () => {
    expect(await readAll(streamOf().body)).toEqual([]);
    expect(await readAll(streamOf(new Uint8Array(0)).body)).toEqual([]);
  });

  test('with a message over the limit is refused before its data is read, and let go', async () => {
    const header = withHeader({ x: { dtype: 'U8', shape: [LIMIT], data_offsets: [0, LIMIT] } });
    const { body: stream, isCancelled } = streamOf(header, new Uint8Array(10), new Uint8Array(10), new Uint8Array(10));
    await expect(readAll(stream)).rejects.toThrow(/over the limit of 1048576/);
    expect(isCancelled()).toBe(true);
  });

  test('is let go when its reader leaves, and when it is garbage', async () => {
    const { body: left, isCancelled: isLeft } = streamOf(body, body);
    for await (const _ of readMessages(left, LIMIT)) break;
    expect(isLeft()).toBe(true);
    const { body: garbage, isCancelled: isGarbageLeft } = streamOf(withHeader('garbage'), body, body);
    await expect(readAll(garbage)).rejects.toThrow(SafetensorsError);
    expect(isGarbageLeft()).toBe(true);
  });

  test('whose body breaks gives its own error', async () => {
    const stream = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.error(new TypeError('the line went dead')),
    });
    await expect(readAll(stream)).rejects.toThrow('the line went dead');
  });
});
