/**
 * An ONNX graph whose large constants stand in files of their own, made of one that holds them all: as
 * lab/train/export.py splits a graph that is too large, without ONNX's library.
 */

/** Numbers of the fields used, from onnx.proto. */
const MODEL_GRAPH = 7;
const GRAPH_INITIALIZER = 5;
const TENSOR_RAW_DATA = 9;
const TENSOR_EXTERNAL_DATA = 13;
const TENSOR_DATA_LOCATION = 14;
const EXTERNAL = 1;

export interface SplitGraph {
  readonly graph: Uint8Array;
  readonly parts: readonly { readonly name: string; readonly bytes: Uint8Array }[];
}

/**
 * `model` with each constant of at least `smallest` bytes in a part, in order. A part has at most `largest` bytes, or
 * one constant, and the name `nameOf` its number.
 */
export function splitGraph(
  model: Uint8Array,
  { smallest, largest, nameOf }: { smallest: number; largest: number; nameOf: (part: number) => string },
): SplitGraph {
  const parts: Uint8Array[][] = [[]];
  const lengthOf = (part: readonly Uint8Array[]): number => part.reduce((sum, { length }) => sum + length, 0);

  function moveOut(tensor: Uint8Array): Uint8Array {
    const raw = fieldsOf(tensor).find(({ number }) => number === TENSOR_RAW_DATA)?.content;
    if (raw === undefined || raw.length < smallest) return tensor;
    let part = parts.at(-1) as Uint8Array[];
    if (part.length > 0 && lengthOf(part) + raw.length > largest) {
      part = [];
      parts.push(part);
    }
    const entries = { location: nameOf(parts.length - 1), offset: String(lengthOf(part)), length: String(raw.length) };
    part.push(raw);
    return concat(
      rewrite(tensor, ({ number, whole }) => (number === TENSOR_RAW_DATA ? new Uint8Array() : whole)),
      ...Object.entries(entries).map(([key, value]) =>
        message(TENSOR_EXTERNAL_DATA, concat(text(1, key), text(2, value))),
      ),
      concat(varint(TENSOR_DATA_LOCATION << 3), varint(EXTERNAL)),
    );
  }
  const graph = rewrite(model, (field) =>
    field.number !== MODEL_GRAPH
      ? field.whole
      : message(
          MODEL_GRAPH,
          rewrite(field.content, ({ number, content, whole }) =>
            number === GRAPH_INITIALIZER ? message(GRAPH_INITIALIZER, moveOut(content)) : whole,
          ),
        ),
  );
  return { graph, parts: parts.map((part, i) => ({ name: nameOf(i), bytes: concat(...part) })) };
}

// ---- protocol buffers: a message is a sequence of fields, each a key, and what its kind says ----

interface Field {
  readonly number: number;
  /** of a field with a length; otherwise empty */
  readonly content: Uint8Array;
  /** key, length and content as they stand */
  readonly whole: Uint8Array;
}

function fieldsOf(bytes: Uint8Array): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const readVarint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) throw new RangeError(`a number goes on after ${bytes.length} bytes, the last`);
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const start = at;
    const key = readVarint();
    let content = new Uint8Array();
    const kind = key & 7;
    if (kind === 0) readVarint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = readVarint();
      content = bytes.slice(at, at + length);
      at += length;
    } else throw new RangeError(`kind of field is ${kind}, expected 0, 1, 2 or 5`);
    fields.push({ number: Math.floor(key / 8), content, whole: bytes.subarray(start, at) });
  }
  return fields;
}

const rewrite = (bytes: Uint8Array, change: (field: Field) => Uint8Array): Uint8Array =>
  concat(...fieldsOf(bytes).map(change));

const message = (number: number, content: Uint8Array): Uint8Array =>
  concat(varint((number << 3) | 2), varint(content.length), content);

const text = (number: number, value: string): Uint8Array => message(number, new TextEncoder().encode(value));

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Uint8Array.of(...bytes, rest);
}

const concat = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
