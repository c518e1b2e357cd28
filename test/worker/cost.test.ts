/** What a picture costs, as each door says it: before, in the answer, in headers; and when nobody pays. */
import { env, runInDurableObject } from 'cloudflare:test';
import { createParser } from 'eventsource-parser';
import { beforeEach, describe, expect, test } from 'vitest';
import type { CostView, ReceiptCost } from '../../src/billing/charge.ts';
import type { Receipt } from '../../src/billing/receipt.ts';
import type { JobView, Quote } from '../../src/job/job.ts';
import { ADMIN_KEY, call, createJob, openAccount, post, SMALL, watchAll } from './call.ts';

const APPLE = { prompt: 'a red apple', ...SMALL, preset: '7x', seed: 7 };
const LONG = { prompt: 'a fox', ...SMALL, N: [900], e: [1] };
const OPENAI = { prompt: 'a red apple', size: '256x256', seed: 7 };
const FAL = { prompt: 'a red apple', image_size: SMALL, seed: 7 };
const MODEL = 'gpt-image-1';
const changeable = env as unknown as Record<string, string>;
const TARIFF = '{"version": "test", "nano_usd_per_tflop": 250000000, "minimum_micro_usd": 5}';
/** of the text as long as the model takes; what it came to is of the text as long as it was */
const QUOTED = { usd: null, quote_usd: '0.010732', plain_usd: '0.062667', tariff: 'test' };
const COST = { ...QUOTED, usd: '0.008258', plain_usd: '0.049356' };
/** of the same picture where the stages before the last are decoded for their edges alone */
const UNSEEN_QUOTED = { ...QUOTED, quote_usd: '0.010372' };
const UNSEEN = { ...COST, usd: '0.007897', quote_usd: '0.010372' };
/** of two of those */
const BOTH = { usd: '0.015794', quote_usd: '0.020744', plain_usd: '0.098712', tariff: 'test' };
const costOf = ({ headers }: Response) => [headers.get('x-ralu-quote-usd'), headers.get('x-ralu-cost-usd')];

beforeEach(() => {
  changeable.TARIFF = TARIFF;
});

/** An account that pays ahead and has nothing, or another. */
async function openPoor(terms: object = { billing: { mode: 'prepaid' } }): Promise<string> {
  const response = await call('/v1/accounts', {
    key: ADMIN_KEY,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'poor', ...terms }),
  });
  return (await response.json<{ key: { key: string } }>()).key.key;
}

interface ImageAnswer {
  readonly usage: { readonly cost?: number };
  readonly ralu: { readonly cost: CostView | null; readonly job_ids: readonly string[] };
}

describe('our own door', () => {
  test('says the most before, in the quote, the job and its plan, and what it came to after', async () => {
    const quoted = await post('/v1/jobs/quote', APPLE);
    expect(costOf(quoted)).toEqual([QUOTED.quote_usd, null]);
    expect((await quoted.json<Quote>()).cost).toEqual(QUOTED);

    const accepted = await post('/v1/jobs', APPLE);
    expect(costOf(accepted)).toEqual([QUOTED.quote_usd, null]);
    const job = await accepted.json<JobView>();
    expect(job.cost).toEqual(QUOTED);

    const events = await watchAll(job.id);
    expect(events.find(({ type }) => type === 'plan')?.data).toMatchObject({ cost: QUOTED });
    expect(events.at(-1)).toMatchObject({ type: 'done', data: { cost: COST, receipt: { cost: COST } } });

    const got = await call(`/v1/jobs/${job.id}`);
    expect(costOf(got)).toEqual([null, COST.usd]);
    const ended = await got.json<JobView>();
    expect(ended.cost).toEqual(COST);
    const { lines, usd_per_tflop, minimum_usd, paid } = (ended.receipt as Receipt).cost as ReceiptCost;
    expect({ usd_per_tflop, minimum_usd, paid }).toEqual({
      usd_per_tflop: '0.250000',
      minimum_usd: '0.000005',
      paid: 'whole',
    });
    expect(lines.map(({ item, tokens, steps }) => [item, tokens, steps])).toEqual([
      ['stage1', 64, 2],
      ['decode1', null, 1],
      ['stage2', 82, 3],
      ['decode2', null, 1],
      ['stage3', 256, 5],
      ['decode3', null, 1],
      ['text', 3, 1],
    ]);
    const { data } = await (await call('/v1/jobs?limit=1')).json<{ data: JobView[] }>();
    expect(data[0]).toMatchObject({ id: job.id, cost: COST });
  });

  test('says what a cancelled job cost, in its event and in the answer to the cancel', async () => {
    const { id } = await createJob(LONG);
    const cancelled = await call(`/v1/jobs/${id}/cancel`, { method: 'POST' });
    const { cost } = await cancelled.json<JobView>();
    expect(costOf(cancelled)).toEqual([null, cost?.usd]);
    expect(Number(cost?.usd)).toBeLessThan(Number(cost?.quote_usd));
    expect((await watchAll(id)).at(-1)).toMatchObject({ type: 'cancelled', data: { cost } });
  });

  test('scripts of other origins may read the headers', async () => {
    const { headers } = await call('/healthz', { headers: { origin: 'http://elsewhere.test' } });
    const exposed = headers.get('access-control-expose-headers')?.split(',');
    for (const name of ['x-ralu-cost-usd', 'x-ralu-quote-usd', 'x-ralu-available-usd', 'x-fal-billable-units'])
      expect(exposed).toContain(name);
  });
});

describe('OpenAI’s door', () => {
  test('sums the images, under ralu, in usage and in a header', async () => {
    const response = await post('/v1/images/generations', { ...OPENAI, n: 2 });
    expect(costOf(response)).toEqual([null, BOTH.usd]);
    const { usage, ralu } = await response.json<ImageAnswer>();
    expect(ralu.cost).toEqual(BOTH);
    expect(usage.cost).toBe(0.015794);
  });

  test('says it beside the bytes alone', async () => {
    const headers = { accept: 'image/*', 'content-type': 'application/json' };
    const response = await call('/v1/images/generations', { method: 'POST', headers, body: JSON.stringify(OPENAI) });
    expect(response.headers.get('content-type')).toBe('image/png');
    expect(costOf(response)).toEqual([null, UNSEEN.usd]);
    await response.arrayBuffer();
  });

  test('a stream begins with the quote and ends with the cost of each image', async () => {
    const response = await post('/v1/images/generations', { ...OPENAI, n: 2, stream: true });
    expect(costOf(response)).toEqual([BOTH.quote_usd, null]);
    const events: { type: string; cost?: CostView; ralu?: ImageAnswer['ralu']; usage?: { cost: number } }[] = [];
    createParser({ onEvent: ({ data }) => void events.push(JSON.parse(data)) }).feed(await response.text());
    const ofType = (type: string) => events.filter((event) => event.type === type);
    expect(ofType('ralu.plan').map(({ cost }) => cost)).toEqual([UNSEEN_QUOTED, UNSEEN_QUOTED]);
    const completed = ofType('image_generation.completed');
    expect(completed.map(({ ralu, usage }) => [ralu?.cost, usage?.cost])).toEqual([
      [UNSEEN, 0.007897],
      [UNSEEN, 0.007897],
    ]);
  });

  test('what came to no image says what it cost all the same', async () => {
    const response = await post('/v1/images/generations', { ...OPENAI, steps: 900, seed: undefined, stream: true });
    const id = response.headers.get('x-ralu-job-id') as string;
    await call(`/v1/jobs/${id}/cancel`, { method: 'POST' });
    const last: { error?: object }[] = [];
    createParser({ onEvent: ({ data }) => void last.push(JSON.parse(data)) }).feed(await response.text());
    const { cost } = await (await call(`/v1/jobs/${id}`)).json<JobView>();
    expect(last.at(-1)?.error).toMatchObject({ code: 'job_cancelled', ralu: { job_id: id, cost } });
    expect(cost?.usd).toMatch(/^0\.\d{6}$/);
  });
});

describe('fal’s door', () => {
  test('says the quote where it is submitted, and the cost and its units with the result', async () => {
    const submitted = await post(`/fal/queue/ralu/${MODEL}`, FAL);
    expect(costOf(submitted)).toEqual([QUOTED.quote_usd, null]);
    const { request_id } = await submitted.json<{ request_id: string }>();
    await watchAll(request_id);
    const result = await call(`/fal/queue/ralu/${MODEL}/requests/${request_id}`);
    expect(costOf(result)).toEqual([null, COST.usd]);
    const { cost, receipt } = await result.json<{ cost: CostView; receipt: { cost: ReceiptCost } }>();
    expect(cost).toEqual(COST);
    const units = result.headers.get('x-fal-billable-units');
    expect(units).toMatch(/^0\.03\d{4}$/);
    expect(Number(units)).toBeCloseTo(
      receipt.cost.lines.reduce((sum, { tflops }) => sum + tflops, 0),
      9,
    );
  });

  test('a cancelled request has no result, and a cost', async () => {
    const { request_id } = await (await post(`/fal/queue/ralu/${MODEL}`, { ...FAL, num_inference_steps: 900 })).json<{
      request_id: string;
    }>();
    await call(`/v1/jobs/${request_id}/cancel`, { method: 'POST' });
    const result = await call(`/fal/queue/ralu/${MODEL}/requests/${request_id}`);
    const { cost } = await (await call(`/v1/jobs/${request_id}`)).json<JobView>();
    expect([result.status, ...costOf(result)]).toEqual([499, null, cost?.usd]);
    await result.body?.cancel();
  });
});

describe('Replicate’s door', () => {
  const input = { prompt: 'a red apple', ...SMALL, seed: 7 };
  const predict = (prefer: string) =>
    call(`/v1/models/ralu/${MODEL}/predictions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer },
      body: JSON.stringify({ input }),
    });
  interface Answer {
    readonly id: string;
    readonly cost: CostView;
    readonly metrics: Record<string, number>;
    readonly logs: string;
  }

  test('says the quote first, and the cost in metrics and logs once it has ended', async () => {
    const created = await predict('respond-async');
    expect(costOf(created)).toEqual([QUOTED.quote_usd, null]);
    const { id, cost, metrics } = await created.json<Answer>();
    expect([cost, metrics]).toEqual([QUOTED, {}]);
    await watchAll(id);
    const got = await call(`/v1/predictions/${id}`);
    expect(costOf(got)).toEqual([null, COST.usd]);
    const ended = await got.json<Answer>();
    expect(ended.cost).toEqual(COST);
    expect(ended.metrics).toMatchObject({ cost_usd: 0.008258, image_count: 1, predict_time: expect.any(Number) });
    expect(ended.logs).toContain('at most 0.010732 USD, the plain run 0.062667 USD\n');
    expect(ended.logs).toMatch(/it cost 0\.008258 USD\n$/);
  });

  test('an answer that was waited for has the cost', async () => {
    const response = await predict('wait');
    expect(costOf(response)).toEqual([null, COST.usd]);
    expect(await response.json()).toMatchObject({ status: 'succeeded', metrics: { cost_usd: 0.008258 } });
  });
});

describe('who cannot pay', () => {
  const DETAIL = 'The request may cost 0.010732 USD, and the account has 0.000000 USD left.';
  const UNSEEN_DETAIL = DETAIL.replace(QUOTED.quote_usd, UNSEEN.quote_usd);
  const cases: readonly (readonly [string, string, object, object])[] = [
    [
      'our own',
      '/v1/jobs',
      APPLE,
      { type: 'about:blank', title: 'Not paid', status: 402, code: 'insufficient_credit', detail: DETAIL },
    ],
    [
      'OpenAI’s',
      '/v1/images/generations',
      OPENAI,
      { error: { type: 'insufficient_quota', code: 'insufficient_credit', param: null, message: UNSEEN_DETAIL } },
    ],
    ['fal’s', `/fal/queue/ralu/${MODEL}`, FAL, { detail: DETAIL, message: DETAIL, error_type: 'insufficient_credit' }],
    [
      'Replicate’s',
      '/v1/predictions',
      { input: APPLE },
      { type: 'about:blank', title: 'Not paid', status: 402, code: 'insufficient_credit', detail: DETAIL },
    ],
  ];

  test.each(cases)('is told by %s door in its own shape, and not to ask again', async (_, path, body, answer) => {
    const response = await post(path, body, await openPoor());
    expect(response.status).toBe(402);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'x-should-retry': 'false',
      'x-ralu-quote-usd': (body === OPENAI ? UNSEEN : QUOTED).quote_usd,
      'x-ralu-available-usd': '0.000000',
    });
    expect(await response.json()).toEqual(answer);
  });

  test('may have a quote, and two pictures are asked for as two', async () => {
    const key = await openPoor();
    expect((await (await post('/v1/jobs/quote', APPLE, key)).json<Quote>()).cost).toEqual(QUOTED);
    const response = await post('/v1/images/generations', { ...OPENAI, n: 2 }, key);
    expect([response.status, response.headers.get('x-ralu-quote-usd')]).toEqual([402, BOTH.quote_usd]);
    await response.body?.cancel();
  });
});

describe('the caller’s own customer', () => {
  /** Whom the account counts a job for. */
  async function userOf(key: string, id: string): Promise<string | null> {
    const account = await (await call('/v1/account', { key })).json<{ id: string }>();
    const stub = env.ACCOUNTS.get(env.ACCOUNTS.idFromName(account.id));
    return runInDurableObject(
      stub,
      (_, { storage }) =>
        storage.sql.exec<{ user: string | null }>('SELECT user FROM charge WHERE job = ?', id).one().user,
    );
  }
  const ID = 'x-ralu-job-id';

  test.each([
    ['/v1/jobs', { ...APPLE, user: 'u-1' }, 'u-1'],
    ['/v1/jobs', { ...APPLE, user: '' }, null],
    ['/v1/jobs', APPLE, null],
    ['/v1/images/generations', { ...OPENAI, user: 'u-2' }, 'u-2'],
    ['/v1/images/generations', { ...OPENAI, safety_identifier: 'u-3' }, 'u-3'],
    ['/v1/images/generations', { ...OPENAI, user: '', safety_identifier: 'u-4' }, 'u-4'],
    ['/v1/images/generations', { ...OPENAI, user: 'u-5', safety_identifier: 'u-6' }, 'u-5'],
    ['/v1/images/generations', { ...OPENAI, user: null, safety_identifier: '' }, null],
    [`/fal/queue/ralu/${MODEL}`, { ...FAL, user: 'u-7' }, 'u-7'],
    ['/v1/predictions', { input: { ...APPLE, user: 'u-8' } }, 'u-8'],
  ] as const)('%s %j is for %s', async (path, body, user) => {
    const key = await openAccount();
    const response = await post(path, body, key);
    expect(response.status).toBeLessThan(300);
    expect(await userOf(key, response.headers.get(ID) as string)).toBe(user);
    await response.body?.cancel();
  });

  test('is held to the limits of each user at every door, and nobody else is', async () => {
    const key = await openPoor({
      billing: { mode: 'postpaid' },
      limits: {
        images_per_minute: 60,
        concurrent_jobs: 20,
        tflops_per_minute: null,
        tflops_per_image: null,
        steps_per_image: 200,
        usd_per_user_day: '0.010',
      },
    });
    const detail =
      'This user may spend 0.010000 USD a day (UTC) and has spent 0.000000; the request may cost 0.010732 USD.';
    const send = async (path: string, body: object) => {
      const response = await post(path, body, key);
      return [response.status, response.headers.get('x-should-retry'), await response.json()];
    };
    expect(await send('/v1/jobs', { ...APPLE, user: 'ann' })).toMatchObject([
      402,
      'false',
      { code: 'spend_limit', detail },
    ]);
    expect(await send('/v1/images/generations', { ...OPENAI, safety_identifier: 'ann' })).toMatchObject([
      402,
      'false',
      { error: { type: 'insufficient_quota', code: 'spend_limit' } },
    ]);
    expect(await send(`/fal/queue/ralu/${MODEL}`, { ...FAL, user: 'ann' })).toEqual([
      402,
      'false',
      { detail, message: detail, error_type: 'spend_limit' },
    ]);
    expect(await send('/v1/predictions', { input: { ...APPLE, user: 'ann' } })).toMatchObject([
      402,
      'false',
      { title: 'Not paid', status: 402, detail },
    ]);
    expect(await send('/v1/jobs', APPLE)).toMatchObject([202, null, { cost: QUOTED }]);
  });

  test('has a name of at most 512 characters', async () => {
    const user = 'u'.repeat(513);
    expect(await (await post('/v1/jobs', { ...APPLE, user })).json()).toMatchObject({ errors: [{ field: 'user' }] });
    for (const field of ['user', 'safety_identifier'])
      expect(await (await post('/v1/images/generations', { ...OPENAI, [field]: user })).json()).toMatchObject({
        error: { param: field },
      });
  });
});

describe('where nothing is charged', () => {
  test('no answer has a cost, and no header', async () => {
    changeable.TARIFF = '';
    const key = await openPoor();
    const quoted = await post('/v1/jobs/quote', APPLE, key);
    expect([(await quoted.json<Quote>()).cost, ...costOf(quoted)]).toEqual([null, null, null]);
    const response = await post('/v1/images/generations', OPENAI, key);
    expect([response.status, ...costOf(response)]).toEqual([200, null, null]);
    const { usage, ralu } = await response.json<ImageAnswer>();
    expect(ralu.cost).toBeNull();
    expect(usage).not.toHaveProperty('cost');
    const [id] = ralu.job_ids as [string];
    const prediction = await (await call(`/v1/predictions/${id}`, { key })).json<{ cost: null; metrics: object }>();
    expect(prediction.cost).toBeNull();
    expect(prediction.metrics).not.toHaveProperty('cost_usd');
    const result = await call(`/fal/queue/ralu/${MODEL}/requests/${id}`, { key });
    expect([(await result.json<{ cost: null }>()).cost, result.headers.get('x-fal-billable-units')]).toEqual([
      null,
      null,
    ]);
  });
});
