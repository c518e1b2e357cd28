/**
 * What a caller of the OpenAI stream waits for: the first event, the first partial image, the picture; alone and in a
 * crowd.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { type Stack, startStack } from '../local/stack.ts';
import type { Engine } from '../local/stage.ts';
import { median } from './median.ts';
import type { Size } from './size.ts';

/** Milliseconds from before the request. */
export interface Waits {
  readonly firstEvent: number;
  /** null where there is none before the picture */
  readonly firstPartial: number | null;
  readonly final: number;
  /** computing of the stages, as their server reported it */
  readonly compute: number;
}

export interface StreamTimes {
  readonly name: string;
  readonly firstEvent: number;
  readonly firstPartial: number | null;
  readonly final: number;
  readonly compute: number;
  /** median of first partial / final of the same request */
  readonly partialShare: number | null;
}

async function watch({ url, key }: Stack, size: Size, preset: string, seed: number): Promise<Waits> {
  const body = JSON.stringify({
    prompt: 'a red apple on a white background',
    size: `${size.width}x${size.height}`,
    seed,
    stream: true,
    partial_images: 2,
    ralu: { preset },
  });
  const begin = performance.now();
  const since = (): number => performance.now() - begin;
  const response = await fetch(new URL('/v1/images/generations', url), {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body,
  });
  if (!response.ok || !response.body) throw new Error(`refused: ${await response.text()}`);
  let firstEvent: number | null = null;
  let firstPartial: number | null = null;
  for await (const { event, data } of response.body
    .pipeThrough(new TextDecoderStream())
    .pipeThrough(new EventSourceParserStream())) {
    firstEvent ??= since();
    if (event === 'image_generation.partial_image') firstPartial ??= since();
    if (event !== 'image_generation.completed') continue;
    const { ralu } = JSON.parse(data) as { ralu: { stages: readonly { ms: number }[] } };
    return { firstEvent, firstPartial, final: since(), compute: ralu.stages.reduce((sum, { ms }) => sum + ms, 0) };
  }
  throw new Error('the stream ended without a picture');
}

/** Medians over the streams of one way; of partial images, over those that had one. */
export function mediansOf(name: string, runs: readonly Waits[]): StreamTimes {
  const of = (part: (one: Waits) => number): number => median(runs.map(part));
  const partials = runs.flatMap(({ firstPartial, final }) => (firstPartial === null ? [] : [{ firstPartial, final }]));
  return {
    name,
    firstEvent: of(({ firstEvent }) => firstEvent),
    firstPartial: partials.length === 0 ? null : median(partials.map(({ firstPartial }) => firstPartial)),
    final: of(({ final }) => final),
    compute: of(({ compute }) => compute),
    partialShare:
      partials.length === 0 ? null : median(partials.map(({ firstPartial, final }) => firstPartial / final)),
  };
}

/**
 * `requests` streams one after the other, 7x and plain in turn; then as many times as it takes, `crowd` 7x streams at
 * once. One uncounted request of each before.
 */
export async function benchStreams({
  engine,
  size,
  requests,
  crowd,
}: {
  readonly engine: Engine;
  readonly size: Size;
  readonly requests: number;
  readonly crowd: number;
}): Promise<readonly StreamTimes[]> {
  const folder = await mkdtemp(join(tmpdir(), 'ralu-bench-'));
  const stack = await startStack({ persistTo: folder, engine });
  try {
    const alone: Waits[] = [];
    const plain: Waits[] = [];
    for (let seed = -1; seed < requests; seed++) {
      const [one, other] = [
        await watch(stack, size, '7x', Math.max(0, seed)),
        await watch(stack, size, 'plain', Math.max(0, seed)),
      ];
      if (seed < 0) continue;
      alone.push(one);
      plain.push(other);
    }
    const together: Waits[] = [];
    while (together.length < requests)
      together.push(...(await Promise.all(Array.from({ length: crowd }, (_, seed) => watch(stack, size, '7x', seed)))));
    return [
      mediansOf('7x, one at a time', alone),
      mediansOf('plain, one at a time', plain),
      mediansOf(`7x, ${crowd} at once`, together),
    ];
  } finally {
    await stack.close();
    await rm(folder, { recursive: true, force: true });
  }
}
