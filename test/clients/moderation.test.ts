/** A judge of prompts beside the running stack: asked before any work, through every door. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import OpenAI, { APIError } from 'openai';
import { expect, inject, test } from 'vitest';
import { startPacedServer } from '../contract/paced-server.ts';
import { makeRig } from '../e2e/rig.ts';

test('what the judge forbids is refused by name and leaves no job', async () => {
  const asked: { prompt: string; authorization: string | undefined }[] = [];
  const judge = createServer(async (req, res) => {
    let body = '';
    for await (const chunk of req) body += chunk;
    const { prompt } = JSON.parse(body) as { prompt: string };
    asked.push({ prompt, authorization: req.headers.authorization });
    res
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ allowed: !prompt.includes('bear') }));
  });
  await new Promise<void>((resolve) => judge.listen(0, '127.0.0.1', resolve));
  const stage = await startPacedServer();
  const rig = await makeRig({
    stage,
    bundle: inject('bundle'),
    vars: {
      MODERATION_URL: `http://127.0.0.1:${(judge.address() as AddressInfo).port}/`,
      MODERATION_TOKEN: 'judge-token',
    },
  });
  try {
    await rig.start();
    const client = new OpenAI({ baseURL: `${rig.service.url}/v1`, apiKey: rig.service.key });
    const refused = await client.images.generate({ prompt: 'a bear' }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(APIError);
    expect(refused).toMatchObject({ status: 400, code: 'moderation_blocked', param: 'prompt' });
    const list = await fetch(`${rig.service.url}/v1/jobs`, { headers: { authorization: `Bearer ${rig.service.key}` } });
    expect(await list.json()).toMatchObject({ data: [] });
    expect((await client.images.generate({ prompt: 'an apple' })).data).toHaveLength(1);
    // over its limit a key reaches no judge, and a prompt that is not allowed has used what it took
    const opened = await fetch(`${rig.service.url}/v1/accounts`, {
      method: 'POST',
      headers: { authorization: `Bearer ${rig.adminKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'narrow', limits: { images_per_minute: 1 }, billing: { mode: 'postpaid' } }),
    });
    const { key } = (await opened.json()) as { key: { key: string } };
    const narrow = new OpenAI({ baseURL: `${rig.service.url}/v1`, apiKey: key.key, maxRetries: 0 });
    for (const status of [400, 429, 429])
      expect(await narrow.images.generate({ prompt: 'a brown bear' }).catch((error: unknown) => error)).toMatchObject({
        status,
      });
    expect(asked).toEqual([
      { prompt: 'a bear', authorization: 'Bearer judge-token' },
      { prompt: 'an apple', authorization: 'Bearer judge-token' },
      { prompt: 'a brown bear', authorization: 'Bearer judge-token' },
    ]);
  } finally {
    judge.close();
    await rig.remove();
    await stage.stop();
  }
});

test('a judge that redirects is not followed, and one that answers without end gives no verdict', async () => {
  const asked: string[] = [];
  const flooded = Promise.withResolvers<number>();
  const judge = createServer((req, res) => {
    asked.push(req.url ?? '');
    if (req.url === '/elsewhere') res.writeHead(200).end('{"allowed": true}');
    else if (req.url === '/redirects') res.writeHead(307, { location: '/elsewhere' }).end();
    else {
      const chunk = Buffer.alloc(16 * 1024, ' ');
      let sent = 0;
      const more = (): void => {
        while (!res.destroyed && sent < 64 * 1024 * 1024) {
          sent += chunk.length;
          if (!res.write(chunk)) return;
        }
      };
      res
        .writeHead(200)
        .on('drain', more)
        .on('close', () => flooded.resolve(sent));
      more();
    }
  });
  await new Promise<void>((resolve) => judge.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(judge.address() as AddressInfo).port}`;
  const stage = await startPacedServer();
  const rigs = ['/redirects', '/floods'].map(async (path) => {
    const rig = await makeRig({ stage, bundle: inject('bundle'), vars: { MODERATION_URL: url + path } });
    try {
      await rig.start();
      const answer = await fetch(`${rig.service.url}/v1/jobs`, {
        method: 'POST',
        headers: { authorization: `Bearer ${rig.service.key}`, 'content-type': 'application/json' },
        body: '{"prompt": "an apple"}',
      });
      expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([
        503,
        'moderation_unavailable',
      ]);
    } finally {
      await rig.remove();
    }
  });
  try {
    await Promise.all(rigs);
    expect(asked.toSorted()).toEqual(['/floods', '/redirects']);
    expect(await flooded.promise).toBeLessThan(16 * 1024 * 1024);
  } finally {
    judge.close();
    judge.closeAllConnections();
    await stage.stop();
  }
});
