/** Whole requests through the local stack, ways of making one picture in turn, so that a slow minute of the machine falls on all of them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Receipt } from '../../src/billing/receipt.ts';
import type { JobView } from '../../src/job/job.ts';
import { type Stack, startStack } from '../local/stack.ts';
import type { Engine } from '../local/stage.ts';

/** One way of making the picture: a name, and the request it sends. */
export interface Way {
  readonly name: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Medians over the runs of one way, milliseconds. */
export interface WayTimes {
  readonly name: string;
  readonly denoise: number;
  readonly text: number;
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

export const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;

async function run(stack: Stack, body: Readonly<Record<string, unknown>>): Promise<Receipt> {
  const headers = { authorization: `Bearer ${stack.key}`, 'content-type': 'application/json' };
  const created = await fetch(new URL('/v1/jobs', stack.url), { method: 'POST', headers, body: JSON.stringify(body) });
  if (created.status !== 202) throw new Error(`job refused: ${await created.text()}`);
  const { id } = (await created.json()) as JobView;
  // watched to its end, as callers do
  await (await fetch(new URL(`/v1/jobs/${id}/events`, stack.url), { headers })).arrayBuffer();
  const job = (await (await fetch(new URL(`/v1/jobs/${id}`, stack.url), { headers })).json()) as JobView;
  if (!job.receipt) throw new Error(`job ${id} ${job.status}: ${job.error?.message}`);
  return job.receipt;
}

const sumOf = (receipt: Receipt, part: 'compute_ms' | 'text_ms' | 'decode_ms' | 'encode_ms'): number => receipt.stages.reduce((sum, stage) => sum + stage[part], 0);

/** Medians of `rounds` rounds in which the plain run and every way come once each, after one round that is not counted. */
export async function benchRequests({ engine, ways, rounds }: { readonly engine: Engine; readonly ways: readonly Way[]; readonly rounds: number }): Promise<readonly WayTimes[]> {
  const folder = await mkdtemp(join(tmpdir(), 'ralu-bench-'));
  const stack = await startStack({ persistTo: folder, engine });
  try {
    const all = [PLAIN, ...ways];
    const receipts: Receipt[][] = all.map(() => []);
    for (let round = -1; round < rounds; round++) {
      for (const [i, way] of all.entries()) {
        const receipt = await run(stack, { prompt: 'a red apple on a white background', seed: Math.max(0, round), ...way.body });
        if (round >= 0) receipts[i]?.push(receipt);
      }
    }
    const plain = receipts[0] as Receipt[];
    return all.map(({ name }, i) => {
      const mine = receipts[i] as Receipt[];
      const of = (part: (receipt: Receipt) => number) => median(mine.map(part));
      const ratio = (part: (receipt: Receipt) => number) => median(mine.map((receipt, round) => part(plain[round] as Receipt) / part(receipt)));
      return {
        name,
        denoise: of((receipt) => sumOf(receipt, 'compute_ms')),
        text: of((receipt) => sumOf(receipt, 'text_ms')),
        decode: of((receipt) => sumOf(receipt, 'decode_ms')),
        encode: of((receipt) => sumOf(receipt, 'encode_ms')),
        orchestration: of(({ wall_ms }) => wall_ms.orchestration),
        total: of(({ wall_ms }) => wall_ms.total),
        denoiseRatio: ratio((receipt) => sumOf(receipt, 'compute_ms')),
        totalRatio: ratio(({ wall_ms }) => wall_ms.total),
        flopRatio: (mine[0] as Receipt).tflops.ratio,
      };
    });
  } finally {
    await stack.close();
    await rm(folder, { recursive: true, force: true });
  }
}
