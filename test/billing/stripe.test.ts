import fc from 'fast-check';
import Stripe from 'stripe';
import { describe, expect, test } from 'vitest';
import {
  isThere,
  meterForm,
  minuteOf,
  nextMeterMove,
  readMeterAnswer,
  readSummaries,
  readTopUp,
  STRIPE_VERSION,
  signatureFault,
  summaryQuery,
} from '../../src/billing/stripe.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const AT = Date.UTC(2026, 10, 27, 1, 40, 41, 120);
const EVENT = { job: 'job_1', customer: 'cus_1', micro: 68, at: AT };

const stripe = new Stripe('sk_test_x');
const SECRET = 'whsec_test';
const bytes = (text: string) => new TextEncoder().encode(text);
const header = (payload: string, timestamp: number, secret = SECRET) =>
  stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp });

describe('a signature', () => {
  const NOW = Math.floor(AT / 1000);
  const BODY = '{"id":"evt_1","text":"größer"}';

  test('of Stripe’s own library is taken, and signs every byte of the body', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), fc.nat(), async (payload, place) => {
        const signed = header(payload, NOW);
        expect(await signatureFault(SECRET, signed, bytes(payload), NOW)).toBeNull();
        const other = bytes(payload);
        if (other.length === 0) return;
        other[place % other.length] = (other[place % other.length] as number) ^ 1;
        expect(await signatureFault(SECRET, signed, other, NOW)).toBe('wrong');
      }),
      { numRuns: 100 },
    );
  });

  test('holds for five minutes, before and after', async () => {
    for (const [seconds, fault] of [
      [0, null],
      [300, null],
      [-300, null],
      [301, 'too_old'],
      [-301, 'too_old'],
    ] as const)
      expect([seconds, await signatureFault(SECRET, header(BODY, NOW), bytes(BODY), NOW + seconds)]).toEqual([
        seconds,
        fault,
      ]);
  });

  test('is one of several while the secret is replaced', async () => {
    const [, other] = header(BODY, NOW, 'whsec_other').split(',');
    const [time, own] = header(BODY, NOW).split(',');
    expect(await signatureFault(SECRET, `${time},${other},${own}`, bytes(BODY), NOW)).toBeNull();
    expect(await signatureFault(SECRET, `${time},${other}`, bytes(BODY), NOW)).toBe('wrong');
    // of those that follow the tenth none is looked at
    const many = Array.from({ length: 10 }, () => other).join(',');
    expect(await signatureFault(SECRET, `${time},${many},${own}`, bytes(BODY), NOW)).toBe('wrong');
  });

  test.each([
    '',
    't=,v1=',
    `t=${NOW}`,
    `t=${NOW},v1=zz`,
    `v1=${'a'.repeat(64)}`,
    `t=now,v1=${'a'.repeat(64)}`,
    `t=${NOW},v0=${'a'.repeat(64)}`,
  ])('is none: %s', async (text) => {
    expect(await signatureFault(SECRET, text, bytes(BODY), NOW)).toBe('malformed');
  });

  test('of another time does not sign', async () => {
    const [, own] = header(BODY, NOW).split(',');
    expect(await signatureFault(SECRET, `t=${NOW + 1},${own}`, bytes(BODY), NOW)).toBe('wrong');
  });
});

describe('a meter event', () => {
  test('is the form that Stripe reads: seconds, micro-dollars, the job as its identifier', () => {
    expect(Object.fromEntries(new URLSearchParams(meterForm('ralu_usd', EVENT)))).toEqual({
      event_name: 'ralu_usd',
      identifier: 'job_1',
      timestamp: '1795743641',
      'payload[stripe_customer_id]': 'cus_1',
      'payload[value]': '68',
    });
  });

  test('speaks the version of the API that Stripe’s library speaks', () => {
    expect(STRIPE_VERSION).toBe(Stripe.API_VERSION);
  });

  test.each([
    [200, {}, 'taken'],
    [null, null, 'unclear'],
    [302, null, 'unclear'],
    [408, null, 'unclear'],
    [409, null, 'unclear'],
    [429, null, 'unclear'],
    [500, null, 'unclear'],
    [400, { error: { message: 'No such meter' } }, 'refused'],
    [401, null, 'refused'],
    [400, { error: { message: 'An event already exists with identifier job_1.' } }, 'taken'],
    [400, { error: { code: 'duplicate_meter_event' } }, 'taken'],
  ] as const)('answered %s %j is %s', (status, body, answer) => {
    expect(readMeterAnswer(status, body)).toBe(answer);
  });

  test('is sent again for 23 hours, then looked for, and given up after 34 days', () => {
    const move = (firstTriedAt: number | null, now: number) => nextMeterMove(EVENT, firstTriedAt, now);
    expect(move(null, AT)).toBe('send');
    expect(move(AT, AT + 23 * HOUR - 1)).toBe('send');
    expect(move(AT, AT + 23 * HOUR)).toBe('look');
    expect(move(null, AT + 2 * DAY)).toBe('send');
    expect(move(AT + 2 * DAY, AT + 2 * DAY + HOUR)).toBe('send');
    // the clock has stepped back: nobody knows how long it has been
    expect(move(AT, AT - 1)).toBe('look');
    expect(move(null, AT + 34 * DAY)).toBe('give_up');
  });

  test('is never sent when it may have been taken 23 hours ago or longer', () => {
    fc.assert(
      fc.property(fc.integer({ min: -DAY, max: 40 * DAY }), fc.integer({ min: 0, max: 40 * DAY }), (tried, later) => {
        const now = AT + later;
        if (nextMeterMove(EVENT, AT + tried, now) === 'send')
          expect([now >= AT + tried, now - (AT + tried) < 23 * HOUR]).toEqual([true, true]);
      }),
    );
  });
});

describe('what a meter has of a minute', () => {
  test('is asked for the whole minute of the charge', () => {
    expect(minuteOf(AT)).toEqual({ from: Date.UTC(2026, 10, 27, 1, 40), to: Date.UTC(2026, 10, 27, 1, 41) });
    expect(summaryQuery(EVENT)).toBe('customer=cus_1&start_time=1795743600&end_time=1795743660');
  });

  test('is the sum of what it lists', () => {
    expect(readSummaries({ data: [] })).toBe(0);
    expect(readSummaries({ data: [{ aggregated_value: 68 }, { aggregated_value: 2 }] })).toBe(70);
    expect(readSummaries({ data: 'x' })).toBeNull();
    expect(readSummaries(null)).toBeNull();
  });

  test('is all of what waits, nothing of it, or nobody can tell', () => {
    expect(isThere(10, { taken: 10, waiting: 5 })).toBe(false);
    expect(isThere(15, { taken: 10, waiting: 5 })).toBe(true);
    expect(isThere(12, { taken: 10, waiting: 5 })).toBe('unclear');
    expect(isThere(0, { taken: 10, waiting: 5 })).toBe('unclear');
  });
});

describe('a webhook of Checkout', () => {
  const session = {
    id: 'cs_1',
    mode: 'payment',
    payment_status: 'paid',
    currency: 'usd',
    amount_total: 1250,
    client_reference_id: 'acct_0123456789abcdef',
  };
  const event = (changes: object = {}, type = 'checkout.session.completed', id = 'evt_1') => ({
    id,
    type,
    data: { object: { ...session, ...changes } },
  });

  test('pays the total of a paid session in, by the session', () => {
    expect(readTopUp(event())).toEqual({
      kind: 'top_up',
      account: 'acct_0123456789abcdef',
      posting: { id: 'stripe:cs_1', kind: 'top_up', amount: 12_500_000, job: null, reason: 'evt_1' },
    });
    const late = readTopUp(event({}, 'checkout.session.async_payment_succeeded', 'evt_2'));
    expect(late).toMatchObject({ kind: 'top_up', posting: { id: 'stripe:cs_1', amount: 12_500_000 } });
  });

  test('pays nothing in before it is paid, where it is free, or where it is about something else', () => {
    expect(readTopUp(event({ payment_status: 'unpaid' }))).toEqual({ kind: 'ignored' });
    expect(readTopUp(event({ payment_status: 'no_payment_required', amount_total: 0 }))).toEqual({ kind: 'ignored' });
    expect(readTopUp({ id: 'evt_1', type: 'invoice.paid', data: {} })).toEqual({ kind: 'ignored' });
  });

  test.each([
    ['currency', 'eur'],
    ['currency', null],
    ['mode', 'subscription'],
    ['amount_total', 0],
    ['amount_total', 12.5],
    ['amount_total', 1e14],
    ['amount_total', null],
    ['client_reference_id', null],
    ['client_reference_id', ''],
  ] as const)('is refused by name where %s is %s', (field, value) => {
    expect(readTopUp(event({ [field]: value }))).toMatchObject({
      kind: 'refused',
      field: `data.object.${field}`,
      value,
    });
  });

  test.each([[null], [[]], [{}], [{ id: 'evt_1', type: 'checkout.session.completed' }]])('is refused: %j', (odd) => {
    expect(readTopUp(odd)).toMatchObject({ kind: 'refused' });
  });
});
