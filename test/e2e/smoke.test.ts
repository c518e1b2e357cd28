/** `npm run smoke` against a deployment that is well, and against those that are broken in the ways they break. */

import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { request } from '../../scripts/generate/client.ts';
import { keptPort } from '../../scripts/local/ports.ts';
import { type Stack, type StackOptions, startStack } from '../../scripts/local/stack.ts';
import { startPacedServer } from '../contract/paced-server.ts';
import { startCommand } from './command.ts';
import { startFaultyStage } from './faulty-stage.ts';

let folder: string;
let paced: Awaited<ReturnType<typeof startPacedServer>>;
const stops: (() => Promise<unknown>)[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ralu-smoke-'));
  paced = await startPacedServer();
});
afterAll(async () => {
  await Promise.all(stops.map((stop) => stop()));
  await paced?.stop();
  await rm(folder, { recursive: true, force: true });
});

let stacks = 0;
async function deploy(options: Partial<StackOptions>): Promise<Stack & { readonly log: readonly string[] }> {
  const log: string[] = [];
  stacks += 1;
  const stack = await startStack({
    ...options,
    persistTo: join(folder, String(stacks)),
    bundle: inject('bundle'),
    onLog: (line) => log.push(line),
  });
  stops.push(stack.close);
  return { ...stack, log };
}

const smoke = ({ url, key }: { url: string; key: string }, ...args: readonly string[]) =>
  startCommand('smoke.ts', ['--url', url, ...args], folder, { RALU_API_KEY: key, STAGE_TOKEN: paced.token }).finished;

/** What each step came to: `ok health`, `FAIL models`. */
const verdicts = (stdout: string): string[] =>
  [...stdout.matchAll(/^(ok|FAIL) +(\w+)/gm)].map(([, verdict, step]) => `${verdict} ${step}`);

test('a deployment that is well passes every step, and keeps none of its jobs', async () => {
  const stack = await deploy({});
  const { code, stdout, stderr } = await smoke(stack, '--stage', stack.stage.url, '--stage-token', stack.stage.token);
  expect(stderr).toBe('');
  const steps = ['stage', 'health', 'models', 'job', 'picture', 'receipt', 'replay', 'cancel', 'erase'];
  expect(verdicts(stdout)).toEqual(steps.map((step) => `ok ${step}`));
  expect(stdout).toMatch(/^ok +job .* 2×64 → 3×82 → 5×256 \(steps × tokens\)$/m);
  expect(stdout).toMatch(/^ok +erase .* 2 jobs are gone$/m);
  expect(stdout.trim().endsWith('all is well')).toBe(true);
  expect(code).toBe(0);
  const { data } = (await (await request(stack, '/v1/jobs')).json()) as { data: unknown[] };
  expect(data).toEqual([]);
});

describe.concurrent('a broken deployment is told what is wrong, and what to do', () => {
  const backends = (...list: object[]) => ({ BACKENDS: JSON.stringify(list) });

  test('no stage server', async ({ expect }) => {
    const stack = await deploy({ stage: paced, vars: backends() });
    const { code, stdout } = await smoke(stack);
    expect(verdicts(stdout)).toEqual(['ok health', 'FAIL models']);
    expect(stdout).toContain('no_backend: No stage server can be reached');
    expect(stdout).toContain('do: BACKENDS is empty, or none of its servers answers.');
    expect(code).toBe(1);
  });

  test('a token that the stage server does not know', async ({ expect }) => {
    const stack = await deploy({ stage: { url: paced.url, token: 'another' } });
    const { code, stdout } = await smoke(stack, '--stage', paced.url);
    expect(verdicts(stdout)).toEqual(['ok stage', 'ok health', 'FAIL models']);
    expect(stdout).toContain('401: its secret BACKEND_TOKEN_<ID> is not the token it was started with');
    expect(stack.log.find((line) => line.includes('no_server'))).toContain('answered 401');
    expect(code).toBe(1);
  });

  test('a stage server that is not there', async ({ expect }) => {
    const url = `http://127.0.0.1:${await keptPort()}`;
    const stack = await deploy({ stage: { url, token: paced.token } });
    const { code, stdout } = await smoke(stack, '--stage', url);
    expect(verdicts(stdout)).toEqual(['FAIL stage', 'ok health', 'FAIL models']);
    expect(stdout).toContain(`no stage server answers at ${url} (ECONNREFUSED)`);
    expect(stdout).toContain('2 steps failed');
    expect(code).toBe(1);
  });

  test('a gateway that gives the stages no worker', async ({ expect }) => {
    const far = await startFaultyStage(paced.url);
    stops.push(far.close);
    far.inject([], { kind: 'status', status: 400, body: '{"reason": "timed out waiting for worker"}' });
    const stack = await deploy({ stage: { url: far.url, token: paced.token }, vars: { QUEUE_SECONDS: '3' } });
    const { code, stdout } = await smoke(stack);
    expect(verdicts(stdout)).toEqual(['ok health', 'ok models', 'FAIL job']);
    expect(stdout).toMatch(/answered with status 400\. \(gateway, attempts: [2-9]\)/);
    expect(stdout).toContain('do: A gateway before the stage server answered in its place');
    expect(code).toBe(1);
  });

  test('a stage server that hangs', async ({ expect }) => {
    const far = await startFaultyStage(paced.url);
    stops.push(far.close);
    far.inject([], { kind: 'hang', after: 'nothing' });
    const stack = await deploy({ stage: { url: far.url, token: paced.token } });
    const { code, stdout } = await smoke(stack, '--seconds', '2');
    expect(verdicts(stdout)).toEqual(['ok health', 'ok models', 'FAIL job']);
    expect(stdout).toContain('was not done in time; the last that was heard is a request of stage 1, attempt 1');
    expect(stdout).toContain('Give it longer with --seconds');
    expect(code).toBe(1);
  });

  test('a configuration that is none, another key, and a model that is not there', async ({ expect }) => {
    const wrong = await deploy({ stage: paced, vars: { BACKENDS: '[{"id": "GPU 1"}]' } });
    const broken = await smoke(wrong);
    expect(verdicts(broken.stdout)).toEqual(['ok health', 'FAIL models']);
    expect(broken.stdout).toContain('request_failed, or bad_configuration, which names the variable that is wrong');
    const well = await deploy({ stage: paced });
    const shut = await smoke({ url: well.url, key: 'ralu_x' });
    expect(verdicts(shut.stdout)).toEqual(['ok health', 'FAIL models']);
    expect(shut.stdout).toContain('do: Send a key of an account of this deployment');
    const none = await smoke(well, '--model', 'flux');
    expect(none.stdout).toContain('there is no model flux; there are closed-form');
    expect([broken.code, shut.code, none.code]).toEqual([1, 1, 1]);
  });

  test('an address where something else answers, or nobody', async ({ expect }) => {
    const server = createServer((_, response) => response.end('hello'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    stops.push(() => new Promise((resolve) => server.close(resolve)));
    const { port } = server.address() as AddressInfo;
    const other = await smoke({ url: `http://127.0.0.1:${port}`, key: 'k' });
    expect(other.stdout).toContain(`/healthz answered 200, and not {"status": "ok"}`);
    const gone = await smoke({ url: `http://127.0.0.1:${await keptPort()}`, key: 'k' });
    expect(gone.stdout).toMatch(/^FAIL +health .*does not answer \(ECONNREFUSED\)$/m);
    expect([other.code, gone.code]).toEqual([1, 1]);
  });
});

test('an external stage server serves generate, and an unusable one is one sentence', async () => {
  const args = ['a red apple', '--seed', '7', '--out', 'apple.png', '--json', '--stage', paced.url];
  const run = startCommand('generate.ts', args, folder, { STAGE_TOKEN: paced.token });
  const { code, stdout, stderr } = await run.finished;
  expect(code, stderr).toBe(0);
  expect(JSON.parse(stdout).receipt).toMatchObject({ model: 'closed-form', preset: '7x', seed: 7 });
  const refused = await startCommand('generate.ts', args, folder, { STAGE_TOKEN: 'another' }).finished;
  expect(refused.stderr).toBe(
    `\ngenerate: the stage server at ${paced.url} refuses this token: it must be the one that the server was started with\n`,
  );
  expect(refused.code).toBe(1);
});

test('an external stage server serves start, which ends without it', async () => {
  const port = await keptPort();
  const run = startCommand('start.ts', ['--port', String(port), '--stage', paced.url], folder, {
    STAGE_TOKEN: paced.token,
  });
  await run.says('Ctrl-C stops the Worker; the stage server goes on');
  run.process.kill('SIGTERM');
  expect((await run.finished).code).toBe(0);
  expect((await fetch(`${paced.url}/healthz`)).status).toBe(200);
});
