/**
 * What is erased is nowhere any more: the objects' databases, the bucket, the stage server and the logs are searched
 * for the prompt, the picture and the previews.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { fetchImage } from '../../scripts/generate/client.ts';
import { keptPort } from '../../scripts/local/ports.ts';
import { startStage } from '../../scripts/local/stage.ts';
import { call } from '../contract/requests.ts';
import { type FaultyStage, startFaultyStage } from './faulty-stage.ts';
import { makeRig, type Rig } from './rig.ts';

const TOKEN = 'a-token-for-erasing';
const WORDS = 'quagga beside a thylacine';
/** So long a piece of a file, out of its middle, is in no other file. */
const PIECE_BYTES = 200;

let real: ReturnType<typeof startStage>;
let realUrl: string;
let stage: FaultyStage;
let rig: Rig;
beforeAll(async () => {
  real = startStage({ engine: 'native', port: await keptPort(), token: TOKEN });
  realUrl = await real.ready;
  stage = await startFaultyStage(realUrl);
  rig = await makeRig({ bundle: inject('bundle'), stage: { url: stage.url, token: TOKEN } });
  await rig.start();
});
afterAll(async () => {
  await rig?.remove();
  await stage?.close();
  await real?.child.stop();
});

/** Whether anything stored or logged holds each of the pieces. */
async function held(pieces: Readonly<Record<string, Buffer>>): Promise<readonly string[]> {
  const files = (await readdir(rig.state, { recursive: true, withFileTypes: true })).filter((each) => each.isFile());
  const contents = await Promise.all(
    files.map(({ parentPath, name }) => readFile(join(parentPath, name)).catch(() => Buffer.alloc(0))),
  );
  const all = [...contents, Buffer.from(rig.log.join('\n'))];
  return Object.keys(pieces).filter((name) => all.some((content) => content.includes(pieces[name] as Buffer)));
}

const middle = (bytes: Uint8Array): Buffer => {
  const from = (bytes.length - PIECE_BYTES) >> 1;
  return Buffer.from(bytes.subarray(from, from + PIECE_BYTES));
};

test('after DELETE no store has the prompt, the picture or a preview, and no digest confirms a guess', async () => {
  const body = { prompt: `a ${WORDS}`, width: 256, height: 256, preset: '7x', seed: 7 };
  const headers = { authorization: `Bearer ${rig.service.key}` };
  const start = (asked: object) =>
    fetch(`${rig.service.url}/v1/jobs`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json', 'idempotency-key': 'once' },
      body: JSON.stringify(asked),
    });
  const { id } = (await (await start(body)).json()) as { id: string };
  const events = await (await fetch(`${rig.service.url}/v1/jobs/${id}/events`, { headers })).text();
  const pictureOf = (type: string) => new RegExp(`event: ${type}\\ndata: .*?"b64_json":"([^"]+)"`).exec(events)?.[1];
  const small = await fetch(`${rig.service.url}/v1/jobs/${id}/thumbnail`, { headers });
  const pieceOf = (text: string) => Buffer.from(text.slice(200, 200 + PIECE_BYTES));
  const pieces = {
    prompt: Buffer.from(WORDS),
    picture: middle(await fetchImage(rig.service, id)),
    preview: pieceOf(pictureOf('preview') as string),
    'small picture': pieceOf(Buffer.from(await small.arrayBuffer()).toString('base64')),
  };
  // told to whoever watched, where it came in time
  const thumbnail = pictureOf('thumbnail');
  const guesses = {
    ...(thumbnail && { 'thumbnail of a stage': pieceOf(thumbnail) }),
    'digest of the body': Buffer.from(
      createHash('sha256')
        .update(`/v1/jobs\0${JSON.stringify(body)}`)
        .digest('hex'),
    ),
    'digest of the prompt': Buffer.from(createHash('sha256').update(body.prompt).digest('hex')),
  };
  // they are there to be found: a search that finds nothing would prove nothing
  expect(await held(pieces)).toEqual(Object.keys(pieces));
  expect(await held(guesses)).toEqual([]);
  const stages = stage.seen.map((path) => path.slice(1));
  expect(stages).toHaveLength(3);

  expect((await fetch(`${rig.service.url}/v1/jobs/${id}`, { method: 'DELETE', headers })).status).toBe(204);
  await expect.poll(() => held(pieces), { timeout: 20_000 }).toEqual([]);
  // the stage server was told of every stage, and knows none any more
  await expect.poll(() => [...stage.deleted].sort(), { timeout: 20_000 }).toEqual([...stage.seen].sort());
  for (const path of stages) expect((await call({ url: realUrl, token: TOKEN }, 'DELETE', path)).status).toBe(404);
  expect((await fetch(`${rig.service.url}/v1/jobs/${id}/image`, { headers })).status).toBe(404);
  // the key of the request is free for another
  const again = await start({ ...body, prompt: 'a red apple' });
  expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([202, null]);
});
