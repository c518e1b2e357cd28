/** What stage servers remember of a job after `DELETE`: nothing, at every server that a request went to. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { follow, getJob } from '../../scripts/generate/client.ts';
import { loadSecrets } from '../../scripts/local/secrets.ts';
import { type Stack, startStack } from '../../scripts/local/stack.ts';
import { hmacHex } from '../../src/account/hmac.ts';
import { modelList } from '../../src/stage/contract.ts';
import { startPacedServer } from '../contract/paced-server.ts';
import { call, evenSigmas, finish, freshId, put, stageBody } from '../contract/requests.ts';
import { type FaultyStage, startFaultyStage } from './faulty-stage.ts';

const TOKEN = 'erasure-token';
const PROMPT = 'a marzipan zeppelin over Ouagadougou';

let folder: string;
let servers: Awaited<ReturnType<typeof startPacedServer>>[];
let first: FaultyStage;
const logs: string[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ralu-erasure-'));
  servers = [await startPacedServer({ token: TOKEN }), await startPacedServer({ token: TOKEN })];
  first = await startFaultyStage(servers[0]?.url as string);
});

afterAll(async () => {
  await first?.close();
  await Promise.all(servers.map(({ stop }) => stop()));
  await rm(folder, { recursive: true, force: true });
});

/** The stack on its folder, with two stage servers; the first one has the faults. */
const start = (): Promise<Stack> =>
  startStack({
    persistTo: folder,
    bundle: inject('bundle'),
    stage: { url: first.url, token: TOKEN },
    vars: {
      BACKENDS: JSON.stringify([
        { id: 'first', url: first.url },
        { id: 'second', url: servers[1]?.url },
      ]),
      BACKEND_TOKEN_FIRST: TOKEN,
      BACKEND_TOKEN_SECOND: TOKEN,
    },
    onLog: (line) => logs.push(line),
  });

test('after DELETE no stage server that a request went to remembers stages or the encoded prompt, and none has logged it', async () => {
  const stack = await start();
  const headers = { authorization: `Bearer ${stack.key}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ prompt: PROMPT, width: 256, height: 256, preset: '7x', seed: 5 });
  // the second stage's answer breaks, and once more when it goes back there, so it runs at both servers
  const broken = { kind: 'cut', missing: 3000, how: 'break' } as const;
  first.inject([{ kind: 'forward' }, broken, broken]);
  const asked = { method: 'POST', headers: headers, body };
  const { id } = (await (await fetch(new URL('/v1/jobs', stack.url), asked)).json()) as { id: string };
  const types: string[] = [];
  for await (const { type } of follow(stack, id)) types.push(type);
  expect(types.filter((type) => type === 'retry')).toHaveLength(2);
  expect(types.at(-1)).toBe('done');
  const { urls } = await getJob(stack, id);
  const etag = (await fetch(new URL(urls.image, stack.url), { headers })).headers.get('etag') as string;
  const account = (await (await fetch(new URL('/v1/account', stack.url), { headers })).json()) as { id: string };

  const { signingSecret } = await loadSecrets(folder);
  const tag = (await hmacHex(signingSecret, 'account-tag', account.id)).slice(0, 32);
  const targets = servers.map(({ url }) => ({ url, token: TOKEN }));
  const [model] = modelList.parse(await (await call(targets[0]!, 'GET', 'v1/models')).json()).models;
  /** Milliseconds that encoding the prompt takes a server, for the same account; 0: it remembers it. */
  const encodeMs = async (target: (typeof targets)[number]): Promise<number> => {
    const options = { prompt: PROMPT, account_tag: tag };
    const request = stageBody(model!, { sigmas: evenSigmas(1), options });
    return (await finish(await put(target, freshId(), request))).done.encode_text_ms;
  };
  // the first one was told to forget its broken stage when the job ended
  expect(await encodeMs(targets[1]!)).toBe(0);

  expect((await fetch(new URL(urls.get, stack.url), { method: 'DELETE', headers })).status).toBe(204);
  const again = await fetch(new URL(urls.image, stack.url), { headers: { ...headers, 'if-none-match': etag } });
  expect(again.status).toBe(404);
  await expect.poll(() => first.deleted.length, { timeout: 10_000 }).toBeGreaterThan(0);
  for (const target of targets) {
    expect(await encodeMs(target)).toBeGreaterThan(0);
    for (const path of new Set([...first.seen, ...first.deleted]))
      expect((await call(target, 'DELETE', path.slice(1))).status).toBe(404);
  }
  const lines = [...logs, ...servers.flatMap(({ logged }) => logged.map((entry) => JSON.stringify(entry)))];
  expect(lines.length).toBeGreaterThan(5);
  expect(lines.filter((line) => line.includes(PROMPT) || line.includes('marzipan'))).toEqual([]);
  await stack.close();
});
