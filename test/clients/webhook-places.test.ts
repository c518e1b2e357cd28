/**
 * A webhook whose name leads into a private network: the name is looked up before every call, and nothing is called.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, inject, test } from 'vitest';
import { createJob, getJob } from '../../scripts/generate/client.ts';
import { startPacedServer } from '../contract/paced-server.ts';
import { makeRig } from '../e2e/rig.ts';

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
  } finally {
    resolver.close();
    await rig.remove();
    await stage.stop();
  }
});
