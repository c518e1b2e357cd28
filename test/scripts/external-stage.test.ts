/** Reaching a stage server that somebody else started: the real server in this process, and others in its place. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import type { Model } from '../../containers/onnx/model.ts';
import { closedFormModel } from '../../scripts/local/closed-form-model.ts';
import { reachStage } from '../../scripts/local/external-stage.ts';
import { keptPort } from '../../scripts/local/ports.ts';
import { startServer, TEST_TOKEN } from '../contract/start.ts';

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

async function start(...args: Parameters<typeof startServer>) {
  const server = await startServer(...args);
  stops.push(server.stop);
  return server;
}

/** Something that is no stage server, or a broken one. */
async function startOther(status: number, body: string): Promise<string> {
  const server = createServer((_, response) => response.writeHead(status).end(body));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(() => new Promise((resolve) => server.close(resolve)));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const reach = (
  url: string,
  more: { token?: string; startingMs?: number; listeningMs?: number; signal?: AbortSignal } = {},
) => {
  const said: string[] = [];
  const { token = TEST_TOKEN, ...limits } = more;
  return { said, list: reachStage({ url, token }, { ...limits, say: (sentence) => said.push(sentence) }) };
};

test('a server that is ready says its models at once', async () => {
  const { url } = await start([closedFormModel().model]);
  const { list, said } = reach(url);
  expect((await list).models.map(({ id }) => id)).toEqual(['closed-form']);
  expect(said).toEqual([]);
});

test('a server that is starting is waited for, and said to be', async () => {
  const { promise, resolve } = Promise.withResolvers<readonly Model[]>();
  const { url } = await start(promise);
  const { list, said } = reach(url);
  await expect.poll(() => said).toEqual([`the stage server at ${url} is starting; waiting at most 15 min`]);
  resolve([closedFormModel().model]);
  expect((await list).models).toHaveLength(1);
});

test('a server that goes on starting is given up, and so is one whose caller leaves', async () => {
  const { promise, resolve } = Promise.withResolvers<readonly Model[]>();
  const { url } = await start(promise);
  await expect(reach(url, { startingMs: 20 }).list).rejects.toThrow(/has been starting for \d+ s/);
  const leaving = new AbortController();
  const { list, said } = reach(url, { signal: leaving.signal });
  await expect.poll(() => said).toHaveLength(1);
  leaving.abort();
  await expect(list).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }));
  resolve([]);
});

test('a server that does not listen yet is waited for', async () => {
  const port = await keptPort();
  const { list } = reach(`http://127.0.0.1:${port}`);
  await pause(100);
  await start([closedFormModel().model], { port });
  expect((await list).models).toHaveLength(1);
});

test('another token is told from an address where nobody answers', async () => {
  const { url } = await start([closedFormModel().model]);
  await expect(reach(url, { token: 'another' }).list).rejects.toThrow(`the stage server at ${url} refuses this token`);
  const gone = `http://127.0.0.1:${await keptPort()}`;
  await expect(reach(gone, { listeningMs: 0 }).list).rejects.toThrow(
    `no stage server answers at ${gone} (ECONNREFUSED)`,
  );
});

test.each([
  [404, '<html>', 'answered 404, and not as a stage server does'],
  [401, '<html>', 'answered 401, and not as a stage server does'],
  [303, '', 'answered 303, and not as a stage server does'],
  [503, '{"code": "draining", "message": "soon gone"}', 'is shutting down'],
  [200, 'hello', 'is not the stage contract'],
  [200, '{"models": [{"id": 7}]}', 'is not the stage contract: models.0.id'],
  [200, '{"models": []}', 'has no model'],
])('an answer of %i with %s is no server to use', async (status, body, message) => {
  await expect(reach(await startOther(status, body)).list).rejects.toThrow(message);
});
