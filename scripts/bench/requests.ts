/**
 * Whole requests through the local stack, ways of making one picture in turn, so that a slow minute of the machine
 * falls on all of them.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JobView } from '../../src/job/job.ts';
import { type Stack, startStack } from '../local/stack.ts';
import type { Engine } from '../local/stage.ts';
import { median } from './median.ts';
import { MODELS, modelsOffering } from './models.ts';
import type { Size } from './size.ts';

/** One way of making the picture: a name, and the request it sends. */
export interface Way {
  readonly name: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Medians over the runs of one way, milliseconds. */
export interface WayTimes {
  readonly name: string;
  readonly denoise: number;
  readonly decode: number;
  readonly encode: number;
  readonly orchestration: number;
  readonly total: number;
  /** medians of plain / this within each round, of denoising and of the whole request */
  readonly denoiseRatio: number;
  readonly totalRatio: number;
  /** the ratio the floating-point operations allow, attention counted */
  readonly flopRatio: number;
}

const PLAIN: Way = { name: 'plain, 50 steps', body: { preset: 'plain' } };

/** What one request took, milliseconds: what the stage server reported, and all of it as the caller saw it. */
export interface Run {
  readonly denoise: number;
  readonly decode: number;
  readonly encode: number;
  /** from before the POST to the end of the events */
  readonly total: number;
  readonly flopRatio: number;
}

async function run(stack: Stack, body: Readonly<Record<string, unknown>>): Promise<Run> {
  const headers = { authorization: `Bearer ${stack.key}`, 'content-type': 'application/json' };
  const begin = performance.now();
  const created = await fetch(new URL('/v1/jobs', stack.url), { method: 'POST', headers, body: JSON.stringify(body) });
  if (created.status !== 202) throw new Error(`job refused: ${await created.text()}`);
  const { id } = (await created.json()) as JobView;
  await (await fetch(new URL(`/v1/jobs/${id}/events`, stack.url), { headers })).arrayBuffer();
  const total = performance.now() - begin;
  const { plan, receipt, status, error } = (await (
    await fetch(new URL(`/v1/jobs/${id}`, stack.url), { headers })
  ).json()) as JobView;
  if (status !== 'done' || !receipt) throw new Error(`job ${id} ${status}: ${error?.message}`);
  const sum = (part: 'compute_ms' | 'decode_ms' | 'encode_ms') =>
    receipt.stages.reduce((all, stage) => all + stage[part], 0);
  return {
    denoise: sum('compute_ms'),
    decode: sum('decode_ms'),
    encode: sum('encode_ms'),
    total,
    flopRatio: plan.tflops.ratio,
  };
}

/**
 * Medians of `runs`, one a round, and of how many times faster each was than `plain`'s run of the same round. Law: a
 * round that is slow for both leaves the ratios alone.
 */
export function timesOf({
  name,
  runs,
  plain,
}: {
  readonly name: string;
  readonly runs: readonly Run[];
  readonly plain: readonly Run[];
}): WayTimes {
  const of = (part: (one: Run) => number): number => median(runs.map(part));
  const ratio = (part: 'denoise' | 'total'): number =>
    median(runs.map((one, round) => plain[round]![part] / one[part]));
  return {
    name,
    denoise: of(({ denoise }) => denoise),
    decode: of(({ decode }) => decode),
    encode: of(({ encode }) => encode),
    orchestration: of(({ denoise, decode, encode, total }) => total - denoise - decode - encode),
    total: of(({ total }) => total),
    denoiseRatio: ratio('denoise'),
    totalRatio: ratio('total'),
    flopRatio: runs[0]!.flopRatio,
  };
}

/**
 * Medians of `rounds` rounds in which the plain run and every way come once each, after one round that is not counted;
 * and whether the embedded model offers this size.
 */
export async function benchRequests({
  engine,
  size,
  ways,
  rounds,
}: {
  readonly engine: Engine;
  readonly size: Size;
  readonly ways: readonly Way[];
  readonly rounds: number;
}): Promise<{ readonly isOffered: boolean; readonly times: readonly WayTimes[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'ralu-bench-'));
  const models = await modelsOffering(size, folder);
  const stack = await startStack({ persistTo: folder, engine, models });
  try {
    const all = [PLAIN, ...ways];
    const runs: Run[][] = all.map(() => []);
    for (let round = -1; round < rounds; round++) {
      for (const [i, way] of all.entries()) {
        const one = await run(stack, {
          prompt: 'a red apple on a white background',
          ...size,
          seed: Math.max(0, round),
          ...way.body,
        });
        if (round >= 0) runs[i]?.push(one);
      }
    }
    const plain = runs[0]!;
    return { isOffered: models === MODELS, times: all.map(({ name }, i) => timesOf({ name, runs: runs[i]!, plain })) };
  } finally {
    await stack.close();
    await rm(folder, { recursive: true, force: true });
  }
}
