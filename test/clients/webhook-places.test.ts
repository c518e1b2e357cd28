/** Where webhooks may lead, and what addresses stand in them. */
import { createHmac } from 'node:crypto';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { expect, inject, test } from 'vitest';
import { createJob, getJob } from '../../scripts/generate/client.ts';
import { startPacedServer } from '../contract/paced-server.ts';
import { makeRig } from '../e2e/rig.ts';
import { listen } from './doors.ts';

test('a name with a private address among its own is not called, and tried again later', async () => {
  const asked: string[] = [];
  const resolver = createServer((req, res) => {
    const { searchParams } = new URL(req.url ?? '', 'http://resolver');
    asked.push(`${searchParams.get('name')} ${searchParams.get('type')} ${req.headers.accept}`);
    const answers =
      searchParams.get('type') === 'A' ? [{ type: 1, data: '93.184.215.14' }] : [{ type: 28, data: 'fd00::7' }];
    res.writeHead(200, { 'content-type': 'application/dns-json' }).end(JSON.stringify({ Status: 0, Answer: answers }));
  });
  await new Promise<void>((resolve) => resolver.listen(0, '127.0.0.1', resolve));
  const stage = await startPacedServer();
  const rig = await makeRig({
    stage,
    bundle: inject('bundle'),
    vars: { WEBHOOK_RESOLVER: `http://127.0.0.1:${(resolver.address() as AddressInfo).port}/dns-query` },
  });
  try {
    await rig.start();
    const { id } = await createJob(rig.service, {
      prompt: 'a red apple',
      webhook_url: 'https://hooks.example.com/done',
    });
    await expect
      .poll(async () => (await getJob(rig.service, id)).webhook, { timeout: 20_000 })
      .toEqual({ url: 'https://hooks.example.com/done', state: 'waiting', tries: 1 });
    expect(asked.toSorted()).toEqual([
      'hooks.example.com A application/dns-json',
      'hooks.example.com AAAA application/dns-json',
    ]);
    // no status: it was never asked
    const called = rig.log.map((line) => /\{.*"webhook_called".*\}/.exec(line)?.[0]).find((line) => line !== undefined);
    expect(JSON.parse(called ?? '{}')).toMatchObject({ job_id: id, try: 1, status: null });
    // nor while the request goes on
    asked.length = 0;
    const created = await fetch(`${rig.service.url}/v1/predictions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${rig.service.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        input: { prompt: 'a red apple' },
        webhook: 'https://live.example.com/hook',
        webhook_events_filter: ['start'],
      }),
    });
    const prediction = (await created.json()) as { id: string };
    await expect
      .poll(() => rig.log.map((line) => /\{.*"webhook_told".*\}/.exec(line)?.[0]).find(Boolean), { timeout: 20_000 })
      .toEqual(JSON.stringify({ event: 'webhook_told', job_id: prediction.id, status: null }));
    expect(asked.toSorted()).toEqual([
      'live.example.com A application/dns-json',
      'live.example.com AAAA application/dns-json',
    ]);
  } finally {
    resolver.close();
    await rig.remove();
    await stage.stop();
  }
});

/** POST as whoever writes what he likes into `Host` sends it; resolves to the status. */
function postForged(url: string, key: string, body: object): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', host: 'evil.test' };
    const sent = request(url, { method: 'POST', headers }, (answer) => {
      answer.resume().on('end', () => resolve(answer.statusCode));
    });
    sent.on('error', reject).end(JSON.stringify(body));
  });
}

test('a webhook of every door names the deployment’s own address, whatever Host its request named, and is signed', async () => {
  const base = 'https://pictures.example/api/ralu';
  const stage = await startPacedServer();
  const rig = await makeRig({ stage, bundle: inject('bundle'), vars: { PUBLIC_URL: base } });
  const hook = await listen();
  try {
    await rig.start();
    const { url, key } = rig.service;
    const secret = await fetch(`${url}/v1/webhooks/default/secret`, { headers: { authorization: `Bearer ${key}` } });
    const verifier = new Webhook(((await secret.json()) as { key: string }).key);
    const prompt = 'a red apple';
    const bodies: string[] = [];
    for (const [path, body] of [
      ['/v1/jobs', { prompt, webhook_url: hook.url }],
      ['/v1/predictions', { input: { prompt }, webhook: hook.url }],
      [`/fal/queue/ralu/closed-form?fal_webhook=${encodeURIComponent(hook.url)}`, { prompt }],
      ['/bfl/v1/closed-form', { prompt, webhook_url: hook.url, webhook_secret: 'hippopotamus' }],
    ] as const) {
      const status = await postForged(url + path, key, body);
      expect([200, 201, 202], path).toContain(status);
      const { headers, body: told } = await hook.next();
      expect(verifier.verify(told, headers)).toEqual(JSON.parse(told));
      expect(() => verifier.verify(`${told} `, headers)).toThrow();
      expect(told).not.toContain('evil.test');
      const own = createHmac('sha256', 'hippopotamus').update(told).digest('hex');
      expect(headers['x-bfl-signature']).toBe(path.startsWith('/bfl') ? `sha256=${own}` : undefined);
      bodies.push(told);
    }
    const [job, prediction, completion, finished] = bodies.map((text) => JSON.parse(text));
    const { id, links, urls } = job.data;
    expect(urls.get).toBe(`/api/ralu/v1/jobs/${id}`);
    expect(links.image).toContain(`/api/ralu/v1/jobs/${id}/image.png?token=`);
    expect(prediction.urls.get).toBe(`${base}/v1/predictions/${prediction.id}`);
    expect(prediction.output[0]).toContain(`${base}/v1/jobs/${prediction.id}/image.png?token=`);
    expect(completion.payload.images[0].url).toContain(`${base}/v1/jobs/${completion.request_id}/image.png?token=`);
    expect(finished).toMatchObject({ status: 'Ready', result: { prompt }, timestamp: expect.any(String) });
    expect(finished.result.sample).toContain(`${base}/v1/jobs/${finished.id}/image.jpeg?token=`);
    expect(JSON.stringify([bodies, rig.log])).not.toContain('hippopotamus');
    const picture = await fetch(new URL(links.image, url));
    expect(picture.status).toBe(200);
    await picture.body?.cancel();
  } finally {
    hook.close();
    await rig.remove();
    await stage.stop();
  }
});
