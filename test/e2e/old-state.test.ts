import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { createStageServer } from '../../containers/onnx/app.ts';
import { type Listening, listen } from '../../containers/onnx/listen.ts';
import { fetchImage, follow, getJob } from '../../scripts/generate/client.ts';
import { CLOSED_FORM_FACTS, closedFormModel } from '../../scripts/local/closed-form-model.ts';
import { loadSecrets, openDemo } from '../../scripts/local/secrets.ts';
import { type Stack, startStack } from '../../scripts/local/stack.ts';

/**
 * The state of a stack of version 0.1.0, whose objects had no outbox, no attempts, and backends in their plans: made by
 * that version with this test's stage server, which stood still inside stage 2 of `cut` while everything was killed.
 * `whole` had ended before, `hooked` still had its webhook to deliver, `cancelled` was cancelled. `expected.png` is the
 * picture that version made of `cut`'s request without being killed.
 */
const ARCHIVE = fileURLToPath(new URL('./old-state.tar.gz', import.meta.url));

interface OldJobs {
  readonly cut: string;
  readonly whole: string;
  readonly hooked: string;
  readonly cancelled: string;
  readonly key: string;
}

let folder: string;
let jobs: OldJobs;
let expected: Uint8Array;
let stack: Stack;
let stage: Listening;
const server = createStageServer({
  models: [closedFormModel().model],
  token: 'stage-token',
  options: { log: () => undefined },
});

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ralu-old-'));
  await promisify(execFile)('tar', ['-xzf', ARCHIVE, '-C', folder]);
  jobs = JSON.parse(await readFile(join(folder, 'jobs.json'), 'utf8')) as OldJobs;
  expected = new Uint8Array(await readFile(join(folder, 'expected.png')));
  stage = await listen(server.app, { host: '127.0.0.1', port: 0 });
  stack = await startStack({
    persistTo: folder,
    bundle: inject('bundle'),
    stage: { url: stage.url, token: 'stage-token' },
  });
});

afterAll(async () => {
  await stack?.close();
  await stage?.close(0);
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

describe('what an earlier version stored', () => {
  test('its keys go on opening its account', () => {
    expect(stack.key).toBe(jobs.key);
  });

  test('its account pays ahead from now on, with the credit of a new one, given once', async () => {
    const ask = async (path: string): Promise<Record<string, unknown>> =>
      (await fetch(stack.url + path, { headers: { authorization: `Bearer ${jobs.key}` } })).json() as never;
    expect((await ask('/v1/account')).billing).toMatchObject({ mode: 'prepaid', credit_limit_usd: '0.000000' });
    expect((await ask('/v1/account/ledger')).data).toMatchObject([
      { id: 'demo-credit', kind: 'top_up', amount_usd: '10.000000' },
    ]);
    const { adminKey } = await loadSecrets(folder);
    expect(await openDemo(stack.url, adminKey, jobs.key)).toBe(jobs.key);
    expect((await ask('/v1/account/ledger')).data).toHaveLength(1);
  });

  test('its webhooks go on being signed with what receivers hold, until the account replaces it', async () => {
    const { signingSecret } = JSON.parse(await readFile(join(folder, 'secrets.json'), 'utf8')) as {
      signingSecret: string;
    };
    const account = `acct_${jobs.key.slice(5, 21)}`;
    const held = createHmac('sha256', signingSecret).update(`webhook\0${account}\x000`).digest('base64');
    const address = new URL('/v1/webhooks/default/secret', stack.url);
    const secret = async (method: string): Promise<unknown> =>
      (await fetch(address, { method, headers: { authorization: `Bearer ${jobs.key}` } })).json();
    expect(await secret('GET')).toEqual({ key: `whsec_${held}` });
    const next = await secret('POST');
    expect(next).not.toEqual({ key: `whsec_${held}` });
    expect(await secret('GET')).toEqual(next);
  });

  test('a job cut off inside its second stage is finished, in the bytes that version would have made', async () => {
    const events = [];
    for await (const event of follow(stack, jobs.cut)) events.push(event);
    expect(events.at(-1)?.type).toBe('done');
    const numbers = events.flatMap(({ seq }) => (seq === null ? [] : [seq]));
    expect(numbers).toEqual(numbers.map((_, i) => i + 1));
    expect(await fetchImage(stack, jobs.cut)).toEqual(expected);
    const { receipt } = await getJob(stack, jobs.cut);
    expect(receipt?.stages.map(({ stage }) => stage)).toEqual([1, 2, 3]);
  });

  test('its previews count as a quarter of a picture each, and the plain run decodes one picture', async () => {
    const { plan, receipt, width, height } = await getJob(stack, jobs.cut);
    const picture = (CLOSED_FORM_FACTS.flops.decode_per_pixel * width * height) / 1e12;
    const { plain, plain_total, decode, text } = plan.tflops;
    expect(decode).toBeCloseTo(1.5 * picture, 15);
    expect(plain_total).toBeCloseTo(plain + picture + text, 15);
    expect(receipt?.tflops.decode).toBe(decode);
  });

  test('its one Z is shown at each boundary, with the amplitudes there, in the plan and in the event of that time', async () => {
    const { plan } = await getJob(stack, jobs.cut);
    expect(plan.z).toEqual([8.501387761964647, 8.501387761964647]);
    expect(plan.amplitude[1]?.upsampled?.reached).toBeCloseTo(0.616, 3);
    const told = [];
    for await (const event of follow(stack, jobs.cut)) if (event.type === 'plan') told.push(event.data);
    expect(told).toMatchObject([{ z: plan.z, amplitude: plan.amplitude }]);
  });

  test('a job that had ended is shown as it was, with the same picture', async () => {
    const job = await getJob(stack, jobs.whole);
    expect(job).toMatchObject({ status: 'done', receipt: { stages: [{ stage: 1 }, { stage: 2 }, { stage: 3 }] } });
    expect(await fetchImage(stack, jobs.whole)).toEqual(expected);
    expect(await getJob(stack, jobs.cancelled)).toMatchObject({ status: 'cancelled', image: null });
  });

  test('a webhook that was not taken is tried again', async () => {
    await expect
      .poll(async () => (await getJob(stack, jobs.hooked)).webhook, { timeout: 20_000 })
      .toMatchObject({ state: 'waiting', tries: 2 });
  });

  test('an erased one is gone, and the account counts nothing as open', async () => {
    const headers = { authorization: `Bearer ${stack.key}` };
    const path = new URL(`/v1/jobs/${jobs.whole}`, stack.url);
    expect((await fetch(path, { method: 'DELETE', headers })).status).toBe(204);
    expect((await fetch(path, { headers })).status).toBe(404);
    const listed = (await (await fetch(new URL('/v1/jobs', stack.url), { headers })).json()) as {
      data: { id: string }[];
    };
    expect(listed.data.map(({ id }) => id).toSorted()).toEqual([jobs.cancelled, jobs.cut, jobs.hooked].toSorted());
    const account = await (await fetch(new URL('/v1/account', stack.url), { headers })).json();
    expect(account).toMatchObject({ open_jobs: 0 });
  });

  test('its key is replaced, for the same account, once keys of its form are taken no more', async () => {
    const accountOf = async (key: string) =>
      fetch(new URL('/v1/account', stack.url), { headers: { authorization: `Bearer ${key}` } });
    const { id } = (await (await accountOf(jobs.key)).json()) as { id: string };
    await stack.close();
    const file = join(folder, 'secrets.json');
    const kept = JSON.parse(await readFile(file, 'utf8')) as { oldKeysUntil: string };
    expect(Date.parse(kept.oldKeysUntil) - Date.now()).toBeGreaterThan(28 * 86_400_000);
    await writeFile(file, JSON.stringify({ ...kept, oldKeysUntil: '2026-01-01' }));
    stack = await startStack({
      persistTo: folder,
      bundle: inject('bundle'),
      stage: { url: stage.url, token: 'stage-token' },
    });
    expect(stack.key).not.toBe(jobs.key);
    expect(await (await accountOf(stack.key)).json()).toMatchObject({ id });
    expect((await accountOf(jobs.key)).status).toBe(401);
    const { key } = JSON.parse(await readFile(file, 'utf8')) as { key: string };
    expect(key).toBe(stack.key);
    const listed = await fetch(new URL('/v1/accounts', stack.url), {
      headers: { authorization: `Bearer ${stack.adminKey}` },
    });
    expect(await listed.json()).toMatchObject({ data: [{ id, name: 'demo' }] });
  });
});
