/** Finished images out of storage, as bytes, as text, as an address. */
import type { DoneJob } from '../../doors/openai.ts';
import { toBase64 } from '../../job/base64.ts';
import { imageKey } from '../../job/image-key.ts';
import type { ImageView } from '../../job/job.ts';
import { bucketOf } from '../../job/job-object.ts';
import { withLinks } from '../../job/links.ts';
import { within } from '../../stage/time-limit.ts';
import type { Env } from '../env.ts';
import { erased } from '../follow.ts';
import { BUCKET_MS } from '../send-image.ts';

/**
 * Bytes of a job's image. Throws a 404 Problem where it was erased meanwhile, TookTooLong where the bucket is silent.
 */
export async function imageBytes(env: Env, id: string, { format }: Pick<ImageView, 'format'>): Promise<ArrayBuffer> {
  const read = async (): Promise<ArrayBuffer | undefined> =>
    (await bucketOf(env, id).get(imageKey(id, format)))?.arrayBuffer();
  const stored = await within(BUCKET_MS, 'the bucket', read());
  if (!stored) throw erased(id);
  return stored;
}

export const imageBase64 = async (env: Env, id: string, image: ImageView): Promise<string> =>
  toBase64(new Uint8Array(await imageBytes(env, id, image)));

/** The image's address, open to whoever has it for an hour. */
export const imageUrl = async (env: Env, origin: string, job: DoneJob): Promise<string> =>
  origin + (await withLinks(env.SIGNING_SECRET, job)).links.image;
