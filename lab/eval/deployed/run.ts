/** Pictures of a deployed model, made through its API: every prompt under every row with the same seeds. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { createJob, fetchImage, follow, Refused, request, type Service } from '../../../scripts/generate/client.ts';
import type { Receipt } from '../../../src/billing/receipt.ts';
import { openLines } from '../results.ts';
import { seedOf } from '../seeds.ts';
import type { DeployedOptions } from './options.ts';
import { type DeployedPrompt, readPrompts } from './prompts.ts';
import type { DeployedRow } from './rows.ts';

/** One picture: what was asked, where it is, and what its receipt says it cost. One line of results.jsonl. */
export interface Made {
  readonly row: string;
  /** line of the prompt in its file, from 0; which of its pictures, from 0; the seed of that picture */
  readonly prompt: number;
  readonly nth: number;
  readonly seed: number;
  readonly words: string;
  /** of the picture, from the folder of results.jsonl */
  readonly file: string;
  readonly model: string;
  readonly digest: string;
  readonly engine: string;
  readonly width: number;
  readonly height: number;
  readonly steps: number;
  /** those of the steps that were not forecast */
  readonly evaluations: number;
  /** 10¹² operations: denoising with attention, and all of the job; `plain` is denoising of the plain run */
  readonly tflops: { readonly denoise: number; readonly total: number; readonly plain: number };
  /** as the stage servers reported them, and from the job's start to its end */
  readonly seconds: {
    readonly denoise: number;
    readonly decode: number;
    readonly encode: number;
    readonly job: number;
  };
}

/** A picture that is to be made. */
interface Item {
  readonly row: DeployedRow;
  readonly prompt: DeployedPrompt;
  readonly nth: number;
  readonly seed: number;
}

/** Longest wait for a rate limit. */
const LIMITED_MS = 120_000;

const keyOf = ({ row, prompt, nth }: Pick<Made, 'row' | 'prompt' | 'nth'>): string => `${row} ${prompt} ${nth}`;
const digits = (value: number): string => String(value).padStart(5, '0');

/**
 * What is to be made: prompts and seeds outside and rows inside, so that a slow minute falls on all rows. The seed
 * belongs to line and picture, so it is the same under every row.
 */
const itemsOf = ({ rows, seeds }: DeployedOptions, prompts: readonly DeployedPrompt[]): Item[] =>
  Array.from({ length: seeds }, (_, nth) => nth).flatMap((nth) =>
    prompts.flatMap((prompt) => rows.map((row) => ({ row, prompt, nth, seed: seedOf(prompt.index, nth + 1) }))),
  );

/**
 * Makes what is missing in the folder `out`; resolves to the number of pictures made now. Rejects with what a job
 * fails with, and where the folder holds pictures of other words, another model or another size: a table of both would
 * compare nothing.
 */
export async function makePictures(options: DeployedOptions, say: (text: string) => void): Promise<number> {
  const { service, out } = options;
  const prompts = readPrompts(options.prompts).slice(0, options.first);
  const { lines, add } = openLines<Made>(join(out, 'results.jsonl'));
  const done = new Map(lines.map((made) => [keyOf(made), made]));
  const items = itemsOf(options, prompts);
  const missing = items.filter(({ row, prompt, nth }) => {
    const made = done.get(keyOf({ row: row.id, prompt: prompt.index, nth }));
    if (made && made.words !== prompt.prompt)
      throw new Error(`${out} has another prompt in line ${prompt.index}: "${made.words}"; choose another folder`);
    return !made;
  });
  say(`${items.length} pictures, ${missing.length} to make`);
  let first = lines[0];
  for (const [i, item] of missing.entries()) {
    const { made, image } = await makePicture(service, options, item);
    first ??= made;
    for (const field of ['model', 'digest', 'width', 'height'] as const)
      if (made[field] !== first[field])
        throw new Error(
          `${out} has pictures of ${field} ${first[field]}, this one has ${made[field]}; choose another folder`,
        );
    const file = join(out, made.file);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(join(out, item.row.id, digits(item.prompt.index), 'metadata.jsonl'), `${item.prompt.line}\n`);
    // the picture first: where its line is kept, it is there
    await writeFile(file, image);
    add(made);
    say(`${i + 1}/${missing.length}  ${made.file}  ${made.seconds.denoise.toFixed(2)} s`);
  }
  return missing.length;
}

/** One picture, and the job that made it erased again. */
async function makePicture(
  service: Service,
  { model, size }: DeployedOptions,
  { row, prompt, nth, seed }: Item,
): Promise<{ made: Made; image: Uint8Array }> {
  const body = { prompt: prompt.prompt, seed, preview: false, ...row.body, ...size, ...(model !== null && { model }) };
  const job = await startJob(service, body);
  try {
    for await (const event of follow(service, job.id)) {
      if (event.type === 'failed') throw new Error(`row ${row.id}, "${prompt.prompt}": ${event.data.message}`);
      if (event.type === 'cancelled') throw new Error(`row ${row.id}, "${prompt.prompt}": somebody cancelled the job`);
      if (event.type !== 'done') continue;
      const { image, receipt } = event.data;
      const file = join(row.id, digits(prompt.index), 'samples', `${digits(nth)}.png`);
      const { width, height } = image;
      const asked = { row: row.id, prompt: prompt.index, nth, seed, words: prompt.prompt, file, width, height };
      return { made: { ...asked, ...costOf(receipt) }, image: await fetchImage(service, job.id) };
    }
    throw new Error(`row ${row.id}, "${prompt.prompt}": the events ended before the job did`);
  } finally {
    await request(service, `/v1/jobs/${job.id}`, { method: 'DELETE' }).catch(() => undefined);
  }
}

/** The job, once the limits of the account allow it. */
async function startJob(service: Service, body: Readonly<Record<string, unknown>>) {
  for (const began = performance.now(); ; await pause(1000)) {
    try {
      return await createJob(service, body);
    } catch (error) {
      const isLimited = error instanceof Refused && error.status === 429;
      if (!isLimited || performance.now() - began > LIMITED_MS) throw error;
    }
  }
}

/** What a receipt says of the cost. */
function costOf({ model, model_digest, engine, stages, tflops, wall_ms }: Receipt) {
  const sum = (pick: (stage: Receipt['stages'][number]) => number): number =>
    stages.reduce((all, stage) => all + pick(stage), 0);
  return {
    model,
    digest: model_digest,
    engine,
    steps: sum(({ steps }) => steps),
    evaluations: sum(({ evaluations }) => evaluations),
    tflops: { denoise: tflops.denoise, total: tflops.total, plain: tflops.plain },
    seconds: {
      denoise: sum(({ compute_ms }) => compute_ms) / 1000,
      decode: sum(({ decode_ms }) => decode_ms) / 1000,
      encode: sum(({ encode_ms }) => encode_ms) / 1000,
      job: wall_ms.total / 1000,
    },
  };
}
