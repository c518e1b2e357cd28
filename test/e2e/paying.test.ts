/** Who pays what, through the whole product: every way a job can end, and what its account sees of it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { type Stack, startStack } from '../../scripts/local/stack.ts';
import { parseUsd } from '../../src/billing/money.ts';
import { imageCost, wholeMflop } from '../../src/billing/price.ts';
import type { JobView } from '../../src/job/job.ts';
import { stepFlops } from '../../src/numerics/flops.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { startPacedServer } from '../contract/paced-server.ts';
import { type Fault, type FaultyStageByJob, startFaultyStageByJob } from './faulty-stage.ts';
import { openPayer, type Payer, paidOf, TARIFF } from './paying.ts';

vi.setConfig({ maxConcurrency: 8 });

const TOKEN = 'paying-token';
const RATE = { nanoUsdPerTflop: TARIFF.nano_usd_per_tflop, minimumMicroUsd: TARIFF.minimum_micro_usd };
const APPLE = { prompt: 'a red apple', width: 256, height: 256, preset: '7x', seed: 7 };
/** a schedule of the caller's own, with steps that something can happen between */
const OWN = { prompt: 'a red apple', width: 256, height: 256, N: [40, 60, 60], e: [0.3, 0.45, 1], r: 0.3, seed: 7 };

let folder: string;
let real: Awaited<ReturnType<typeof startPacedServer>>;
let proxy: FaultyStageByJob;
let stack: Stack;
let facts: ModelFacts;

const options = () => ({
  persistTo: folder,
  bundle: inject('bundle'),
  stage: { url: proxy.url, token: TOKEN },
  vars: { TARIFF: JSON.stringify(TARIFF), STAGE_ATTEMPTS: '3', STAGE_SILENCE_SECONDS: '8', QUEUE_SECONDS: '30' },
});

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ralu-paying-'));
  real = await startPacedServer({ token: TOKEN, queue: 100 });
  proxy = await startFaultyStageByJob(real.url);
  stack = await startStack(options());
  const models = await fetch(new URL('/v1/models', real.url), { headers: { authorization: `Bearer ${TOKEN}` } });
  facts = ((await models.json()) as { models: ModelFacts[] }).models[0] as ModelFacts;
});
afterAll(async () => {
  await stack?.close();
  await proxy?.close();
  await real?.stop();
  await rm(folder, { recursive: true, force: true });
});

const payer = (creditUsd: string | null = null): Promise<Payer> => openPayer(() => stack, creditUsd);

/** A job whose stage requests meet these faults. */
async function begin(
  by: Payer,
  body: Readonly<Record<string, unknown>>,
  faults: readonly Fault[] = [],
  always?: Fault,
) {
  const job = await by.create(body);
  proxy.meet(job.id, faults, always);
  return job;
}

/** A step over image and text tokens; attention says that its facts count ten of text: 2 · 8192 · 10 an image token. */
const step = (tokens: number, job: JobView | null): number => {
  const { flops, text_tokens } = facts;
  const [usual, length] = [flops.attention_per_token / (2 * flops.per_token_squared), job ? read(job) : text_tokens];
  const linear = flops.per_token - flops.attention_per_token;
  const attention = (text: number) => flops.per_token_squared * (tokens + text) ** 2;
  const more = linear * (length - usual) + attention(length) - attention(usual);
  return wholeMflop(stepFlops(flops, tokens).total + more);
};
const read = ({ receipt }: JobView): number => receipt?.stages[0]?.text_tokens as number;
const decode = (share: number): number => wholeMflop(facts.flops.decode_per_pixel * 256 * 256 * share);
/** Encoding a prompt, by the tokens that the server counted. */
const text = (job: JobView | null): number =>
  wholeMflop((facts.flops.text * (job ? read(job) : facts.text_tokens)) / 10);

const answers500: Fault = { kind: 'status', status: 500, body: 'oops' };
const reportsNotFinite: Fault = {
  kind: 'spoil',
  spoil: ({ metadata, tensors }) => ({
    metadata: { ...metadata, event: 'error', code: 'not_finite', message: 'latents[3] is NaN', retryable: 'false' },
    tensors,
  }),
};

describe.concurrent('a job is paid by the work it did', () => {
  test('done: its steps, pictures and text, as quoted but for the length of the prompt', async () => {
    const by = await payer();
    const { id, cost } = await begin(by, APPLE);
    expect(cost).toEqual({ usd: null, quote_usd: cost?.quote_usd, plain_usd: cost?.plain_usd, tariff: 'test-1' });
    const job = await by.ended(id);
    const { stages } = job.plan;
    const whole = (of: JobView | null) =>
      stages.reduce((sum, { tokens, evaluations }) => sum + step(tokens, of) * evaluations, 0) +
      (2 * decode(1 / 4) + decode(1)) +
      text(of);
    expect(paidOf(job)).toBe(imageCost(whole(job), RATE));
    expect(parseUsd(job.cost?.quote_usd as string)).toBe(imageCost(whole(null), RATE));
    const plain = step(256, job) * 50 + decode(1) + text(job);
    expect(parseUsd(job.cost?.plain_usd as string)).toBe(imageCost(plain, RATE));
    expect(read(job)).toBeLessThan(10);
    expect(await by.balance()).toEqual({ balance: 0 - paidOf(job), held: 0 });
  });

  test('cancelled: the steps heard of, and no minimum', async () => {
    const by = await payer();
    const { id } = await begin(by, OWN);
    let heard = 0;
    await by.events(id, async ({ type, data }) => {
      if (type !== 'step' || data.stage !== 2) return;
      if (data.step === 10) await by.post(`/v1/jobs/${id}/cancel`, {});
      heard = data.step;
    });
    const job = await by.ended(id);
    expect(job.status).toBe('cancelled');
    const [first, second] = job.plan.stages as [JobView['plan']['stages'][number], JobView['plan']['stages'][number]];
    const done = step(first.tokens, job) * 40 + decode(1 / 4) + step(second.tokens, job) * heard + text(job);
    expect(heard).toBeGreaterThanOrEqual(10);
    expect(paidOf(job)).toBe(Number((BigInt(done) * 1_000_000_000n + 500_000_000n) / 1_000_000_000n));
    expect(job.receipt?.cost?.lines.find(({ item }) => item === 'stage2')?.steps).toBe(heard);
    expect(await by.balance()).toEqual({ balance: 0 - paidOf(job), held: 0 });
  });

  test('cancelled before a step: nothing', async () => {
    const by = await payer();
    const { id } = await by.create(APPLE);
    await by.post(`/v1/jobs/${id}/cancel`, {});
    proxy.meet(id, []);
    expect(paidOf(await by.ended(id))).toBe(0);
    expect(await by.balance()).toEqual({ balance: 0, held: 0 });
  });

  test('too late for its deadline: the steps heard of', async () => {
    const by = await payer();
    const job = await by.ended((await begin(by, { ...OWN, N: [300, 300, 300], deadline_seconds: 4 })).id);
    expect(job.error?.reason).toBe('deadline_exceeded');
    expect(job.receipt?.cost?.paid).toBe('heard');
    expect(paidOf(job)).toBeGreaterThan(0);
    expect(paidOf(job)).toBeLessThan(parseUsd(job.cost?.quote_usd as string));
    expect(await by.balance()).toEqual({ balance: 0 - paidOf(job), held: 0 });
  });

  test('failed by a fault of ours: nothing, however far it came', async () => {
    const by = await payer();
    const job = await by.ended((await begin(by, APPLE, [{ kind: 'forward' }], answers500)).id);
    expect(job.status).toBe('failed');
    expect(job.receipt?.stages).toHaveLength(1);
    expect(job.receipt?.cost).toMatchObject({ usd: '0.000000', paid: 'nothing', lines: [] });
    expect(await by.balance()).toEqual({ balance: 0, held: 0 });
  });

  test.each([
    ['on a schedule that the caller wrote: the steps heard of', OWN, 'heard'],
    ['on a preset of ours: nothing', APPLE, 'nothing'],
  ])('values that are not finite %s', async (_, body, paid) => {
    const by = await payer();
    const job = await by.ended((await begin(by, body, [{ kind: 'forward' }, reportsNotFinite])).id);
    expect(job.error?.reason).toBe('not_finite');
    expect(job.receipt?.cost?.paid).toBe(paid);
    const [first, second] = job.plan.stages as [JobView['plan']['stages'][number], JobView['plan']['stages'][number]];
    const done =
      step(first.tokens, job) * first.steps + decode(1 / 4) + step(second.tokens, job) * second.steps + text(job);
    expect(paidOf(job)).toBe(paid === 'heard' ? imageCost(done, { ...RATE, minimumMicroUsd: 0 }) : 0);
    expect(await by.balance()).toEqual({ balance: 0 - paidOf(job), held: 0 });
  });

  test('a stage tried again is paid once', async () => {
    const by = await payer();
    const undisturbed = await by.ended((await begin(by, APPLE)).id);
    const faults: readonly Fault[] = [answers500, { kind: 'forward' }, { kind: 'cut', missing: 3000, how: 'break' }];
    const job = await by.ended((await begin(by, APPLE, faults)).id);
    expect(job.receipt?.stages.map(({ attempts }) => attempts)).toEqual([2, 2, 1]);
    expect(paidOf(job)).toBe(paidOf(undisturbed));
    expect((await by.balance()).balance).toBe(-2 * paidOf(job));
  });
});

test('of fifty jobs begun at once with credit for ten exactly ten run', async () => {
  const quote = (await (await (await payer()).post('/v1/jobs/quote', APPLE)).json()) as JobView;
  const each = parseUsd(quote.cost?.quote_usd as string);
  const by = await payer(((each * 10.5) / 1e6).toFixed(6));
  const answers = await Promise.all(Array.from({ length: 50 }, () => by.post('/v1/jobs', APPLE)));
  const refused = answers.filter(({ status }) => status === 402);
  expect(refused).toHaveLength(40);
  expect(refused[0]?.headers.get('x-should-retry')).toBe('false');
  expect(await (refused[0] as Response).json()).toMatchObject({ status: 402, code: 'insufficient_credit' });
  const begun = await Promise.all(
    answers.filter(({ status }) => status === 202).map(async (one) => (await one.json()) as JobView),
  );
  expect(begun).toHaveLength(10);
  for (const { id } of begun) proxy.meet(id, []);
  const jobs = await Promise.all(begun.map(({ id }) => by.ended(id)));
  expect(jobs.map(({ status }) => status)).toEqual(Array(10).fill('done'));
  const paid = jobs.reduce((sum, job) => sum + paidOf(job), 0);
  expect(await by.balance()).toEqual({ balance: -paid, held: 0 });
});

test('a suspended account pays for the jobs that finish, and for the steps of those that are cancelled', async () => {
  const suspend = (by: Payer, running: string) =>
    fetch(new URL(`/v1/accounts/${by.id}/suspend`, stack.url), {
      method: 'POST',
      headers: { authorization: `Bearer ${stack.adminKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ running }),
    });
  for (const [running, status] of [
    ['finish', 'done'],
    ['cancel', 'cancelled'],
  ] as const) {
    const by = await payer();
    const { id } = await begin(by, OWN);
    const seen = Promise.withResolvers<void>();
    const all = by.events(id, ({ type }) => void (type === 'step' && seen.resolve()));
    await seen.promise;
    expect((await suspend(by, running)).status).toBe(200);
    await all;
    const job = await by.ended(id);
    expect(job.status).toBe(status);
    expect(paidOf(job)).toBeGreaterThan(0);
    expect(await by.balance()).toEqual({ balance: 0 - paidOf(job), held: 0 });
  }
});

test('a job begun before the tariff changes is paid by the one it was quoted by', async () => {
  const by = await payer();
  const held = Promise.withResolvers<void>();
  const before = await by.ended((await begin(by, APPLE)).id);
  const job = await begin(by, APPLE, [{ kind: 'hold', until: held.promise }]);
  await expect.poll(() => proxy.seen.some((path) => path.includes(job.id))).toBe(true);
  await stack.close();
  held.resolve();
  const vars = { ...options().vars, TARIFF: JSON.stringify({ ...TARIFF, version: 'test-2', nano_usd_per_tflop: 3e9 }) };
  stack = await startStack({ ...options(), vars });
  const after = await by.ended(job.id);
  expect(after.cost).toEqual(before.cost);
  const next = await begin(by, APPLE);
  const dearer = await by.ended(next.id);
  expect(dearer.cost?.tariff).toBe('test-2');
  expect(paidOf(dearer)).toBeCloseTo(3 * paidOf(before), -1);
});
