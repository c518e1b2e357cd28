/** Payments at Stripe: what its webhooks of Checkout do to an account. */
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { toHex } from '../../src/account/hmac.ts';
import { ADMIN_KEY, call } from './call.ts';

const changeable = env as unknown as Record<string, string | undefined>;
const SECRET = 'whsec_of_the_endpoint';

beforeEach(() => {
  changeable.STRIPE_WEBHOOK_SECRET = SECRET;
});
afterEach(() => {
  delete changeable.STRIPE_WEBHOOK_SECRET;
});

interface Opened {
  readonly id: string;
  readonly key: string;
}

async function open(billing: object): Promise<Opened> {
  const response = await call('/v1/accounts', {
    key: ADMIN_KEY,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'payer', billing }),
  });
  const { account, key } = await response.json<{ account: { id: string }; key: { key: string } }>();
  return { id: account.id, key: key.key };
}

const balance = async ({ key }: Opened): Promise<string> =>
  (await (await call('/v1/account', { key })).json<{ billing: { balance_usd: string } }>()).billing.balance_usd;

const audit = async ({ key }: Opened) =>
  (await (await call('/v1/account/audit', { key })).json<{ data: { act: string; actor: string }[] }>()).data;

let sessions = 0;
const newSession = (): string => `cs_${++sessions}`;
const event = (account: string, changes: object = {}, { id = 'evt_1', type = 'checkout.session.completed' } = {}) =>
  JSON.stringify({
    id,
    type,
    data: {
      object: {
        id: newSession(),
        mode: 'payment',
        payment_status: 'paid',
        currency: 'usd',
        amount_total: 1250,
        client_reference_id: account,
        ...changes,
      },
    },
  });

/** As Stripe signs; test/billing/stripe.test.ts holds that against its own library. */
async function signed(secret: string, text: string): Promise<string> {
  const encoder = new TextEncoder();
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', encoder.encode(secret), algorithm, false, ['sign']);
  return toHex(await crypto.subtle.sign('HMAC', key, encoder.encode(text)));
}

/** Sends a body as Stripe does. */
async function send(body: string, { secret = SECRET, age = 0, as = 'stripe' } = {}): Promise<Response> {
  const timestamp = Math.floor(Date.now() / 1000) - age;
  const signature = `t=${timestamp},v1=${await signed(secret, `${timestamp}.${body}`)}`;
  const headers = { 'stripe-signature': signature, 'content-type': 'application/json', 'cf-connecting-ip': as };
  return call('/v1/stripe/webhook', { key: null, method: 'POST', headers, body });
}

/** The lines logged while `work` ran that ask for a person. */
async function alertsOf(work: () => Promise<unknown>): Promise<readonly unknown[]> {
  const log = vi.spyOn(console, 'log');
  await work();
  const lines = log.mock.calls.map(([line]) => JSON.parse(String(line)) as { event: string });
  log.mockRestore();
  return lines.filter((line) => line.event === 'alert');
}

describe('a paid Checkout session', () => {
  test('tops up the account that it names, once for the session, whatever comes twice', async () => {
    const account = await open({ mode: 'prepaid' });
    const before = await balance(account);
    expect(before).toBe('0.000000');
    const id = newSession();
    const paid = event(account.id, { id });
    const late = event(account.id, { id }, { id: 'evt_2', type: 'checkout.session.async_payment_succeeded' });
    const answers = await Promise.all([paid, paid, late, paid].map((body) => send(body)));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(await balance(account)).toBe('12.500000');
    expect((await audit(account)).filter(({ act }) => act === 'money_posted')).toMatchObject([{ actor: 'stripe' }]);
    await send(event(account.id, { amount_total: 1 }));
    expect(await balance(account)).toBe('12.510000');
  });

  test('that is not paid yet, and events about something else, are taken and change nothing', async () => {
    const account = await open({ mode: 'prepaid' });
    for (const body of [
      event(account.id, { payment_status: 'unpaid' }),
      event(account.id, {}, { type: 'checkout.session.expired' }),
      JSON.stringify({ id: 'evt_9', type: 'customer.created', data: { object: { id: 'cus_1' } } }),
    ])
      expect((await send(body)).status).toBe(200);
    expect(await balance(account)).toBe('0.000000');
  });

  test('of nobody who pays ahead is refused, and a person is asked for', async () => {
    const postpaid = await open({ mode: 'postpaid', credit_limit_usd: null });
    for (const [account, code] of [
      ['acct_00000000000000ff', 'account_not_found'],
      ['somebody', 'account_not_found'],
      [postpaid.id, 'account_not_prepaid'],
    ] as const) {
      let answer: Response | null = null;
      const alerts = await alertsOf(async () => {
        answer = await send(event(account));
      });
      expect((answer as Response | null)?.status).toBe(400);
      expect(await (answer as Response | null)?.json()).toMatchObject({
        code,
        errors: [{ field: 'data.object.client_reference_id', value: account }],
      });
      expect(alerts).toMatchObject([{ what: 'payment_not_placed', posting: `stripe:cs_${sessions}` }]);
    }
    expect(await balance(postpaid)).toBe('0.000000');
  });

  test('in another currency, or of another amount than before, is refused', async () => {
    const account = await open({ mode: 'prepaid' });
    const foreign = await send(event(account.id, { currency: 'eur' }));
    expect([foreign.status, await foreign.json()]).toMatchObject([
      400,
      { errors: [{ field: 'data.object.currency', value: 'eur', rule: 'must be "usd"' }] },
    ]);
    const id = newSession();
    await send(event(account.id, { id }));
    const other = await send(event(account.id, { id, amount_total: 5 }));
    expect([other.status, await other.json()]).toMatchObject([409, { code: 'payment_conflict' }]);
    expect(await balance(account)).toBe('12.500000');
  });
});

describe('a webhook of Stripe', () => {
  test('without a signature of the last minutes that fits pays nothing in', async () => {
    const account = await open({ mode: 'prepaid' });
    const body = event(account.id);
    const headers = { 'content-type': 'application/json', 'cf-connecting-ip': 'forger' };
    const unsigned = await call('/v1/stripe/webhook', { key: null, method: 'POST', headers, body });
    const forged = await send(body, { secret: 'whsec_other', as: 'forger' });
    const old = await send(body, { age: 400, as: 'forger' });
    for (const answer of [unsigned, forged, old])
      expect([answer.status, await answer.json()]).toMatchObject([400, { code: 'invalid_signature' }]);
    expect(await balance(account)).toBe('0.000000');
  });

  test('that is forged is tried a few times a minute of one address, and a good one is not counted', async () => {
    const statuses: number[] = [];
    for (let i = 0; i < 40; i++) statuses.push((await send('{}', { secret: 'whsec_other', as: 'guesser' })).status);
    expect(statuses[0]).toBe(400);
    expect(statuses.at(-1)).toBe(429);
    const good = JSON.stringify({ id: 'evt_1', type: 'customer.created' });
    for (let i = 0; i < 40; i++) expect((await send(good, { as: 'payer' })).status).toBe(200);
  });

  test('is refused by what is wrong with it: too long, no JSON, no event', async () => {
    expect((await send('x'.repeat(300_000))).status).toBe(413);
    for (const body of ['no JSON', '[]', '{"id":1}']) expect((await send(body)).status).toBe(400);
  });

  test('is not taken where the deployment has no secret for it', async () => {
    delete changeable.STRIPE_WEBHOOK_SECRET;
    const answer = await send('{}');
    expect([answer.status, await answer.json()]).toMatchObject([503, { code: 'not_configured' }]);
  });
});
