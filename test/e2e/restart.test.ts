/** A stage server that goes away, with the real model: a job waits for it and is done when it is back. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type FollowedEvent, fetchImage } from '../../scripts/generate/client.ts';
import { keptPort } from '../../scripts/local/ports.ts';
import { type Stack, startStack } from '../../scripts/local/stack.ts';
import { startStage } from '../../scripts/local/stage.ts';
import { startWatchedJob, type Watched } from './rig.ts';

const TOKEN = 'restart-token';
const RED_APPLE = { prompt: 'a red apple', width: 256, height: 256, preset: '7x', seed: 7 };

let folder: string;
let port: number;
let stage: ReturnType<typeof startStage>;
let stack: Stack;
let undisturbed: Uint8Array;

const start = () => startStage({ engine: 'native', port, token: TOKEN });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ralu-restart-'));
  port = await keptPort();
  stage = start();
  stack = await startStack({
    persistTo: join(folder, 'main'),
    bundle: inject('bundle'),
    stage: { url: await stage.ready, token: TOKEN },
  });
  undisturbed = await imageOf(await startWatchedJob(stack, RED_APPLE));
});

afterAll(async () => {
  await stack?.close();
  await stage?.child.stop();
  await rm(folder, { recursive: true, force: true });
});

/** The image of a job that must end well. */
async function imageOf({ id, events }: Watched): Promise<Uint8Array> {
  expect((await events).at(-1)?.type).toBe('done');
  return fetchImage(stack, id);
}

test.each<[string, (event: FollowedEvent) => boolean]>([
  ['between two stages', ({ type }) => type === 'selection'],
  ['inside one', ({ type, data }) => type === 'step' && data.stage === 3],
])('a restart of the stage server %s costs time and not the picture', async (_, moment) => {
  const job = await startWatchedJob(stack, RED_APPLE);
  await job.seen(moment);
  await stage.child.stop();
  stage = start();
  await stage.ready;
  expect(Buffer.compare(await imageOf(job), undisturbed)).toBe(0);
});

test('with its stage server gone for a moment, a job of a known model is accepted and done when the server is back', async () => {
  await stage.child.stop();
  const job = await startWatchedJob(stack, RED_APPLE);
  stage = start();
  expect(Buffer.compare(await imageOf(job), undisturbed)).toBe(0);
});

test('with no stage server in reach and no model known, the answer is a 503 that says when to come again', async () => {
  const alone = await startStack({
    persistTo: join(folder, 'alone'),
    bundle: inject('bundle'),
    stage: { url: 'http://127.0.0.1:9', token: TOKEN },
  });
  try {
    const response = await fetch(new URL('/v1/jobs', alone.url), {
      method: 'POST',
      headers: { authorization: `Bearer ${alone.key}`, 'content-type': 'application/json' },
      body: JSON.stringify(RED_APPLE),
    });
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('5');
    expect(await response.json()).toMatchObject({ code: 'no_backend' });
  } finally {
    await alone.close();
  }
});
