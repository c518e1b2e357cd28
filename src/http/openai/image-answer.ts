/** Finished jobs in the shapes of OpenAI's image API, with the facts of the method under `ralu`. */
import { encodeBase64 } from 'hono/utils/encode';
import type { Receipt } from '../../billing/receipt.ts';
import { imageKey } from '../../job/image-key.ts';
import type { ImageView, JobView } from '../../job/job.ts';
import { withLinks } from '../../job/links.ts';
import type { Env } from '../env.ts';
import { erased } from '../follow.ts';
import type { ImageBody } from './image-request.ts';

/** A job that has its image. */
export type DoneJob = JobView & { readonly image: ImageView; readonly receipt: Receipt };

export const isDone = (job: JobView): job is DoneJob => job.image !== null && job.receipt !== null;

/** Bytes of a job's image. Throws a 404 Problem where it was erased meanwhile. */
export async function imageBytes(env: Env, id: string, { format }: Pick<ImageView, 'format'>): Promise<ArrayBuffer> {
  const stored = await env.IMAGES.get(imageKey(id, format));
  if (!stored) throw erased(id);
  return stored.arrayBuffer();
}

export const imageBase64 = async (env: Env, id: string, image: ImageView): Promise<string> =>
  encodeBase64(await imageBytes(env, id, image));

/** The image's address, open to whoever has it for an hour. */
const imageUrl = async (env: Env, origin: string, job: DoneJob): Promise<string> =>
  origin + (await withLinks(env.SIGNING_SECRET, job)).links.image;

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/**
 * `usage` as OpenAI's clients expect it. Output tokens are the work in this method's unit: image tokens, once for every
 * step that carried them. The prompt is not counted.
 */
export function usageOf(receipts: readonly Receipt[]) {
  const image_tokens = sum(receipts.flatMap(({ stages }) => stages.map(({ tokens, steps }) => tokens * steps)));
  return {
    input_tokens: 0,
    input_tokens_details: { image_tokens: 0, text_tokens: 0 },
    output_tokens: image_tokens,
    output_tokens_details: { image_tokens, text_tokens: 0 },
    total_tokens: image_tokens,
  };
}

/**
 * What the method did for some images: stages one by one with the image they belong to, work added up over all images.
 * TFLOPs have attention counted.
 */
export function methodOf(receipts: readonly Receipt[]) {
  const [first] = receipts as readonly [Receipt, ...Receipt[]];
  return {
    job_id: first.job_id,
    job_ids: receipts.map(({ job_id }) => job_id),
    seeds: receipts.map(({ seed }) => seed),
    model: first.model,
    preset: first.preset,
    stages: receipts.flatMap(({ stages }, image_index) =>
      stages.map(({ stage, tokens, steps, compute_ms }) => ({ image_index, stage, tokens, steps, ms: compute_ms })),
    ),
    tflops: sum(receipts.map(({ tflops }) => tflops.denoise)),
    tflops_plain: sum(receipts.map(({ tflops }) => tflops.plain)),
    warnings: [...new Set(receipts.flatMap(({ warnings }) => warnings))],
    engine: [...new Set(receipts.map(({ engine }) => engine))].join(', '),
  };
}

/** The fields that every image event and the answer share. */
export function commonFields({ quality, safety_identifier }: ImageBody, { width, height, output_format }: JobView) {
  return {
    size: `${width}x${height}`,
    quality: quality ?? 'auto',
    background: 'opaque' as const,
    output_format,
    ...(safety_identifier && { safety_identifier }),
  };
}

/** The JSON answer to a request whose jobs have all ended with an image. */
export async function imageAnswer(env: Env, origin: string, body: ImageBody, jobs: readonly DoneJob[]) {
  const [first] = jobs as readonly [DoneJob, ...DoneJob[]];
  const receipts = jobs.map(({ receipt }) => receipt);
  const data = await Promise.all(
    jobs.map(async (job) =>
      body.response_format === 'url'
        ? { url: await imageUrl(env, origin, job) }
        : { b64_json: await imageBase64(env, job.id, job.image) },
    ),
  );
  return {
    created: first.created_at,
    data,
    ...commonFields(body, first),
    usage: usageOf(receipts),
    ralu: methodOf(receipts),
  };
}

/** Text that any header may hold: everything but ASCII as JSON escapes. */
const ascii = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[^\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

/** The facts of one image as headers, for an answer that is nothing but its bytes. */
export function methodHeaders(receipt: Receipt): Record<string, string> {
  const { job_id, seeds, preset, tflops, tflops_plain, warnings, engine } = methodOf([receipt]);
  return {
    'x-ralu-job-id': job_id,
    'x-ralu-seed': String(seeds[0]),
    ...(preset !== null && { 'x-ralu-preset': preset }),
    'x-ralu-tflops': String(tflops),
    'x-ralu-tflops-plain': String(tflops_plain),
    'x-ralu-engine': engine,
    'x-ralu-warnings': ascii(warnings),
  };
}
