/**
 * The latents that a job's stages hand over, and the picture that its selection reads: one message, cut into parts that
 * each fit a row. It is written over in place, and read only for the walk of a room. Nothing here awaits.
 */
import type { Job } from '../../src/job/job.ts';
import { decodeMessage, encodeMessage, type Message, type Tensor } from '../../src/stage/safetensors.ts';
import { MAX_ROW_BYTES } from './columns.ts';

/** Writes a message in the place of the one before. */
export function writeLatents(sql: SqlStorage, message: Message): void {
  const data = encodeMessage(message);
  let part = 0;
  for (; part * MAX_ROW_BYTES < data.length; part++) {
    sql.exec(
      'INSERT INTO job (key, data) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET data = excluded.data',
      -1 - part,
      data.slice(part * MAX_ROW_BYTES, (part + 1) * MAX_ROW_BYTES).buffer,
    );
  }
  sql.exec('DELETE FROM job WHERE key < ?', -part);
}

/** Removes latents and pictures: nobody needs them once the job has ended. */
export function deleteLatents(sql: SqlStorage): void {
  sql.exec('DELETE FROM job WHERE key < 0');
}

/** Writes latents and picture where a room has made some. A picture that was looked at stays until the next latents. */
export function writeTensors(sql: SqlStorage, before: Job, { tokens, rgb }: Job): void {
  if (tokens === before.tokens && (rgb === before.rgb || rgb === null)) return;
  if (!tokens && !rgb) {
    deleteLatents(sql);
    return;
  }
  const n = tokens?.scale.length ?? 0;
  writeLatents(sql, {
    metadata: {},
    tensors: {
      ...(tokens && {
        latents: { data: tokens.latents, shape: [n, tokens.latents.length / n] },
        img_ids: { data: tokens.imgIds, shape: [n, 3] },
        scale: { data: tokens.scale, shape: [n] },
      }),
      ...(rgb && { rgb: { data: rgb.data, shape: [rgb.height, rgb.width, 3] } }),
    },
  });
}

/** What is stored of latents and picture; null each where there is none. Throws where it cannot be read. */
export function readTensors(sql: SqlStorage): Pick<Job, 'tokens' | 'rgb'> {
  const parts = sql.exec<{ data: ArrayBuffer }>('SELECT data FROM job WHERE key < 0 ORDER BY key DESC').toArray();
  if (parts.length === 0) return { tokens: null, rgb: null };
  const message = decodeMessage(joined(parts));
  const rgb = message.tensors.rgb && bytes(message, 'rgb');
  return {
    tokens: {
      latents: floats(message, 'latents'),
      imgIds: floats(message, 'img_ids'),
      scale: bytes(message, 'scale').data,
    },
    rgb: rgb ? { data: rgb.data, height: rgb.shape[0] as number, width: rgb.shape[1] as number } : null,
  };
}

/** The bytes of all parts. */
export function joined(parts: readonly { readonly data: ArrayBuffer }[]): Uint8Array {
  const [only] = parts;
  if (only && parts.length === 1) return new Uint8Array(only.data);
  const data = new Uint8Array(parts.reduce((sum, part) => sum + part.data.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    data.set(new Uint8Array(part.data), at);
    at += part.data.byteLength;
  }
  return data;
}

function floats(message: Message, name: string): Float32Array {
  const data = message.tensors[name]?.data;
  if (!(data instanceof Float32Array)) throw new Error(`stored message without ${name}`);
  return data;
}

function bytes(message: Message, name: string): Tensor<Uint8Array> {
  const tensor = message.tensors[name];
  if (!(tensor?.data instanceof Uint8Array)) throw new Error(`stored message without ${name}`);
  return tensor as Tensor<Uint8Array>;
}
