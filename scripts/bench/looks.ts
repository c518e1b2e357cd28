/** What it costs to look at a running job: thumbnails, beside the same jobs watched without. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Receipt } from '../../src/billing/receipt.ts';
import { decodeEvents } from '../../src/job/events.ts';
import { type Stack, startStack } from '../local/stack.ts';
import type { Engine } from '../local/stage.ts';
import { workerdCpuMs } from './inspected.ts';
import { median } from './median.ts';
import type { Size } from './size.ts';

/** One watched job. Milliseconds. */
export interface Look {
  readonly thumbnails: number;
  /** of their files, together */
  readonly bytes: number;
  readonly denoising: number;
  readonly whole: number;
  /** of workerd, in the time of the job */
  readonly cpu: number;
}

export interface LookFigures {
  readonly name: string;
  /** means of a job that is looked at */
  readonly thumbnails: number;
  readonly bytesEach: number;
  /** each, of the thread of the stage server that computes */
  readonly serverMs: number;
  /** medians, and the mean of the processor time, with thumbnails and without */
  readonly seen: Pick<Look, 'denoising' | 'whole' | 'cpu'>;
  readonly unseen: Pick<Look, 'denoising' | 'whole' | 'cpu'>;
}

async function watch({ url, key }: Stack, body: Readonly<Record<string, unknown>>, looks: boolean): Promise<Look> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const cpu = workerdCpuMs(process.pid);
  const begin = performance.now();
  const created = await fetch(new URL('/v1/jobs', url), { method: 'POST', headers, body: JSON.stringify(body) });
  if (created.status !== 202) throw new Error(`job refused: ${await created.text()}`);
  const { id } = (await created.json()) as { id: string };
  const watched = await fetch(new URL(`/v1/jobs/${id}/events?thumbnails=${looks}`, url), { headers });
  const events = decodeEvents(new Uint8Array(await watched.arrayBuffer()));
  const whole = performance.now() - begin;
  const last = events.at(-1);
  if (last?.type !== 'done') throw new Error(`job ${id} did not finish: ${JSON.stringify(last?.data)}`);
  const files = events.flatMap((event) => (event.type === 'thumbnail' ? [event.data.b64_json] : []));
  return {
    thumbnails: files.length,
    bytes: files.reduce((sum, file) => sum + Buffer.from(file, 'base64').length, 0),
    denoising: denoisingOf(last.data.receipt),
    whole,
    cpu: workerdCpuMs(process.pid) - cpu,
  };
}

const denoisingOf = ({ stages }: Receipt): number => stages.reduce((sum, { compute_ms }) => sum + compute_ms, 0);

/** What a stage server has counted of thumbnails so far. */
async function countedBy({ stage: { url, token } }: Stack): Promise<{ readonly made: number; readonly ms: number }> {
  const answer = await fetch(new URL('metrics', url), { headers: { authorization: `Bearer ${token}` } });
  const text = await answer.text();
  const countOf = (name: string) => Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, 'm').exec(text)?.[1] ?? 0);
  return { made: countOf('stage_thumbnails_total'), ms: 1000 * countOf('stage_thumbnail_seconds_total') };
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Figures of one kind of job, of those with thumbnails and those without. */
export function figuresOf(
  name: string,
  { seen, unseen, serverMs }: { readonly seen: readonly Look[]; readonly unseen: readonly Look[]; serverMs: number },
): LookFigures {
  const of = (looks: readonly Look[]) => ({
    denoising: median(looks.map(({ denoising }) => denoising)),
    whole: median(looks.map(({ whole }) => whole)),
    cpu: mean(looks.map(({ cpu }) => cpu)),
  });
  const thumbnails = mean(seen.map((look) => look.thumbnails));
  const bytesEach = thumbnails === 0 ? 0 : mean(seen.map(({ bytes }) => bytes)) / thumbnails;
  return { name, thumbnails, bytesEach, serverMs, seen: of(seen), unseen: of(unseen) };
}

/** `requests` jobs of each preset with thumbnails and as many without, in turn; one uncounted of each before. */
export async function benchLooks({
  engine,
  size,
  presets,
  requests,
}: {
  readonly engine: Engine;
  readonly size: Size;
  readonly presets: readonly string[];
  readonly requests: number;
}): Promise<readonly LookFigures[]> {
  const folder = await mkdtemp(join(tmpdir(), 'ralu-bench-'));
  const stack = await startStack({ persistTo: folder, engine });
  try {
    const figures: LookFigures[] = [];
    for (const preset of presets) {
      const seen: Look[] = [];
      const unseen: Look[] = [];
      const body = (seed: number) => ({ prompt: 'a red apple on a white background', ...size, preset, seed });
      await watch(stack, body(0), true);
      const before = await countedBy(stack);
      for (let seed = 1; seed <= requests; seed++) {
        seen.push(await watch(stack, body(seed), true));
        unseen.push(await watch(stack, body(seed), false));
      }
      const after = await countedBy(stack);
      const serverMs = (after.ms - before.ms) / Math.max(1, after.made - before.made);
      figures.push(figuresOf(preset, { seen, unseen, serverMs }));
    }
    return figures;
  } finally {
    await stack.close();
    await rm(folder, { recursive: true, force: true });
  }
}
