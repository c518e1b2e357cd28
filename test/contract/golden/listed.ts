/** The golden messages as messages.json lists them: what any test, in any language, compares the bytes with. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { Message, Tensor } from '../../../src/stage/safetensors.ts';

const FOLDER = new URL('./', import.meta.url);

/** How a tensor's values are listed: one by one, by a formula over their index, or as the bytes of a file. */
const listedTensor = z.intersection(
  z.object({ dtype: z.enum(['F32', 'U8']), shape: z.array(z.int()) }),
  z.union([
    z.object({ values: z.array(z.number()) }),
    /** value i is ((multiply * i) mod modulo - subtract) / divide */
    z.object({
      fill: z.object({ multiply: z.number(), modulo: z.number(), subtract: z.number(), divide: z.number() }),
    }),
    z.object({ base64: z.base64() }),
  ]),
);

const listing = z.object({
  messages: z.array(
    z.object({
      file: z.string(),
      kind: z.enum(['request', 'answer']),
      version: z.literal([1, 2, 3, 4, 5]),
      about: z.string(),
      metadata: z.record(z.string(), z.string()),
      tensors: z.record(z.string(), listedTensor),
    }),
  ),
});

export interface Golden extends Message {
  readonly file: string;
  readonly kind: 'request' | 'answer';
  /** of the contract: who made these bytes spoke it */
  readonly version: 1 | 2 | 3 | 4 | 5;
  readonly about: string;
}

export const goldenUrl = (file: string): URL => new URL(file, FOLDER);

/** The bytes in the folder, in memory of their own. */
export const goldenBytes = (file: string): Uint8Array => new Uint8Array(readFileSync(goldenUrl(file)));

/** Every message of the listing, in its order. */
export function listedMessages(): readonly Golden[] {
  const { messages } = listing.parse(JSON.parse(readFileSync(goldenUrl('messages.json'), 'utf8')));
  return messages.map(({ tensors, ...rest }) => ({
    ...rest,
    tensors: Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, tensorOf(tensor)])),
  }));
}

function tensorOf(listed: z.infer<typeof listedTensor>): Tensor {
  const { dtype, shape } = listed;
  const values = valuesOf(listed);
  return { shape, data: dtype === 'F32' ? Float32Array.from(values) : Uint8Array.from(values) };
}

function valuesOf(listed: z.infer<typeof listedTensor>): ArrayLike<number> {
  if ('values' in listed) return listed.values;
  if ('base64' in listed) return Buffer.from(listed.base64, 'base64');
  const { multiply, modulo, subtract, divide } = listed.fill;
  const length = listed.shape.reduce((product, side) => product * side, 1);
  return Array.from({ length }, (_, i) => (((multiply * i) % modulo) - subtract) / divide);
}
