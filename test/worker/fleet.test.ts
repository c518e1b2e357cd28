/** Who may look at the fleet, and what is shown where a dispatcher is silent. */
import { createExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { createApp } from '../../src/app.ts';
import type { Env } from '../../src/http/env.ts';
import { ADMIN_KEY, call, createJob, KEY, SMALL, watchAll } from './call.ts';

const TOKEN = 'a-token-that-opens-nothing-but-metrics';
const BOTH = ['/v1/fleet', '/v1/fleet/metrics'];

/** The Worker with another configuration. */
async function askWith(changes: object, path: string, key: string): Promise<Response> {
  const request = new Request(`http://ralu.test${path}`, { headers: { authorization: `Bearer ${key}` } });
  return createApp().fetch(request, { ...(env as unknown as Env), ...changes }, createExecutionContext());
}

test('the fleet is shown to the admin key alone, its metrics to their own token too', async () => {
  for (const path of BOTH) {
    expect((await call(path, { key: ADMIN_KEY })).status).toBe(200);
    for (const key of [KEY, null, 'nonsense', TOKEN]) expect((await call(path, { key })).status).toBe(401);
  }
  const withToken = (path: string, key: string) => askWith({ METRICS_TOKEN: TOKEN }, path, key);
  expect((await withToken('/v1/fleet/metrics', TOKEN)).status).toBe(200);
  expect((await withToken('/v1/fleet', TOKEN)).status).toBe(401);
  expect((await withToken('/v1/accounts', TOKEN)).status).toBe(401);
  expect((await askWith({ METRICS_TOKEN: 'short' }, '/v1/fleet', ADMIN_KEY)).status).toBe(503);
  expect((await askWith({ DEMAND_URL: 'http://scaler.example/' }, '/v1/fleet', ADMIN_KEY)).status).toBe(503);
});

test('the fleet has every server as its dispatcher sees it, and nothing of any job', async () => {
  const { id } = await createJob({ prompt: 'a red apple', ...SMALL, preset: '7x', seed: 7 });
  await watchAll(id);
  const text = await (await call('/v1/fleet', { key: ADMIN_KEY })).text();
  expect(JSON.parse(text)).toMatchObject({
    object: 'fleet',
    regions: [],
    pools: [
      {
        region: 'test',
        pool: 'default',
        fault: null,
        counting_since: expect.any(Number),
        servers: [
          {
            id: 'local',
            state: 'ready',
            reason: null,
            slots: 64,
            said_fault: null,
            models: [{ id: expect.any(String), digest: expect.any(String) }],
            stages: { done: expect.any(Number), wrong: 0 },
          },
        ],
        lines: [],
      },
    ],
  });
  expect(text).not.toContain(id);
  expect(text).not.toContain('apple');
});

test('a dispatcher that is silent is named within two seconds, and its servers are those of the configuration', async () => {
  const silent = { getByName: () => ({ demand: () => new Promise(() => undefined) }) };
  const begin = Date.now();
  const response = await askWith({ DISPATCHERS: silent }, '/v1/fleet', ADMIN_KEY);
  expect(Date.now() - begin).toBeLessThan(4000);
  expect(await response.json()).toMatchObject({
    pools: [
      {
        fault: 'its dispatcher did not answer: the dispatcher took longer than 2 s',
        counting_since: null,
        servers: [{ id: 'local', state: 'unknown', reason: 'its dispatcher did not answer' }],
      },
    ],
  });
  const metrics = await (await askWith({ DISPATCHERS: silent }, '/v1/fleet/metrics', ADMIN_KEY)).text();
  expect(metrics).toContain('ralu_dispatcher_up{region="test",pool="default"} 0');
});
