/**
 * Stripe, as far as it decides anything here: the body of a meter event and what an answer to it means, whether one
 * that was sent long ago is there, and what a webhook of Checkout pays in. Pure but for the signature.
 *
 * Sources: https://docs.stripe.com/api/billing/meter-event/create, …/billing/meter-event-summary/list, …/webhooks
 */
import { z } from 'zod';
import type { Posting } from './ledger.ts';
import { MAX_MICRO, type MicroUsd } from './money.ts';

/** The version of Stripe's API that is spoken, whatever the account's own is. */
export const STRIPE_VERSION = '2026-10-28.endive';
/** Where it is, unless a deployment says otherwise. */
export const STRIPE_URL = 'https://api.stripe.com';

/** Work of one job for the meter of a postpaid account's customer. */
export interface MeterEvent {
  readonly job: string;
  readonly customer: string;
  readonly micro: MicroUsd;
  /** when it was charged, milliseconds since 1970 */
  readonly at: number;
}

/** The form of a meter event: its value is in micro-dollars, its identifier the job. */
export const meterForm = (eventName: string, { job, customer, micro, at }: MeterEvent): string =>
  new URLSearchParams({
    event_name: eventName,
    identifier: job,
    timestamp: String(Math.floor(at / 1000)),
    'payload[stripe_customer_id]': customer,
    'payload[value]': String(micro),
  }).toString();

/** What came of a meter event: `unclear` may have been taken all the same, `refused` needs somebody to look. */
export type MeterAnswer = 'taken' | 'unclear' | 'refused';

const stripeError = z.object({ error: z.object({ code: z.string().optional(), message: z.string().optional() }) });

/**
 * What an answer means; a null status: none came. Stripe refuses an identifier that it has with status 400, so that
 * refusal says that the event is there. Source: https://github.com/langfuse/langfuse/pull/16292
 */
export function readMeterAnswer(status: number | null, body: unknown): MeterAnswer {
  if (status === null) return 'unclear';
  if (status >= 200 && status < 300) return 'taken';
  const { code, message = '' } = stripeError.safeParse(body).data?.error ?? {};
  if (status === 400 && (code === 'duplicate_meter_event' || /already exists with identifier/i.test(message)))
    return 'taken';
  return status >= 400 && status < 500 && ![408, 409, 429].includes(status) ? 'refused' : 'unclear';
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** Stripe knows an identifier again for 24 hours at least; an hour less, for a clock that is wrong. */
const IDENTIFIER_MS = 23 * HOUR_MS;
/** Stripe takes no event older than 35 days. */
const OLDEST_MS = 34 * DAY_MS;

/** What to do with a meter event now: send it, look first whether it is there, or leave it for good. */
export type MeterMove = 'send' | 'look' | 'give_up';

/**
 * The next move. `firstTriedAt` is when it was first sent since it was last known not to be there; null: never. Laws:
 * nothing is sent again 23 hours after that, or when the clock is before it; nothing is sent after 34 days.
 */
export function nextMeterMove({ at }: Pick<MeterEvent, 'at'>, firstTriedAt: number | null, now: number): MeterMove {
  if (now - at >= OLDEST_MS) return 'give_up';
  if (firstTriedAt === null) return 'send';
  return now >= firstTriedAt && now - firstTriedAt < IDENTIFIER_MS ? 'send' : 'look';
}

/** The minute (UTC) of a time: Stripe sums up whole minutes. Milliseconds since 1970, the end not included. */
export function minuteOf(at: number): { readonly from: number; readonly to: number } {
  const from = Math.floor(at / MINUTE_MS) * MINUTE_MS;
  return { from, to: from + MINUTE_MS };
}

/** The question what a customer's events of the minute of `at` come to. */
export function summaryQuery({ customer, at }: Pick<MeterEvent, 'customer' | 'at'>): string {
  const { from, to } = minuteOf(at);
  const [start_time, end_time] = [String(from / 1000), String(to / 1000)];
  return new URLSearchParams({ customer, start_time, end_time }).toString();
}

const summaries = z.object({ data: z.array(z.object({ aggregated_value: z.number() })).max(100) });

/** What the events of a minute come to, micro-dollars; null for an answer that is no list of summaries. */
export function readSummaries(body: unknown): MicroUsd | null {
  const parsed = summaries.safeParse(body);
  return parsed.success ? parsed.data.data.reduce((sum, { aggregated_value }) => sum + aggregated_value, 0) : null;
}

/** What an account knows of the charges of one minute that a meter is told: taken by it, and not known to be. */
export interface MeterMinute {
  readonly taken: MicroUsd;
  readonly waiting: MicroUsd;
}

/** Whether the meter has what is waiting of a minute: all of it, nothing of it, or nobody can tell. */
export function isThere(aggregated: MicroUsd, { taken, waiting }: MeterMinute): boolean | 'unclear' {
  if (aggregated === taken) return false;
  return aggregated === taken + waiting ? true : 'unclear';
}

/** How far the time of a signature may be from now, seconds. */
const TOLERANCE_SECONDS = 300;
/** Most signatures of one message that are looked at. */
const MAX_SIGNATURES = 10;

export type SignatureFault = 'malformed' | 'too_old' | 'wrong';

/**
 * Why `Stripe-Signature: t=…,v1=…` does not sign `body`; null where one of its signatures does, compared in constant
 * time. Stripe signs `t.body` with HMAC-SHA-256 under the endpoint's secret, with two while the secret is replaced.
 */
export async function signatureFault(
  secret: string,
  header: string,
  body: Uint8Array,
  nowSeconds: number,
): Promise<SignatureFault | null> {
  const parts = header.split(',').map((part) => part.trim().split('='));
  const time = parts.find(([name]) => name === 't')?.[1] ?? '';
  const signatures = parts.filter(([name, value]) => name === 'v1' && /^[0-9a-f]{64}$/i.test(value ?? ''));
  if (!/^\d{1,12}$/.test(time) || signatures.length === 0) return 'malformed';
  const encoder = new TextEncoder();
  const head = encoder.encode(`${time}.`);
  const signed = new Uint8Array(head.length + body.length);
  signed.set(head);
  signed.set(body, head.length);
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', encoder.encode(secret), algorithm, false, ['verify']);
  const fits = await Promise.all(
    signatures
      .slice(0, MAX_SIGNATURES)
      .map(([, hex]) => crypto.subtle.verify('HMAC', key, bytesOf(hex as string), signed)),
  );
  if (!fits.includes(true)) return 'wrong';
  return Math.abs(nowSeconds - Number(time)) > TOLERANCE_SECONDS ? 'too_old' : null;
}

const bytesOf = (hex: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from({ length: hex.length / 2 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));

const eventHead = z.object({ id: z.string().min(1).max(255), type: z.string().min(1).max(255) });
const checkout = z.object({
  data: z.object({
    object: z.object({
      id: z.string().min(1).max(255),
      mode: z.string(),
      payment_status: z.string(),
      currency: z.string().nullable(),
      amount_total: z.number().nullable(),
      client_reference_id: z.string().nullable(),
    }),
  }),
});

/** What a webhook pays in. */
export type TopUp =
  | { readonly kind: 'top_up'; readonly account: string; readonly posting: Posting }
  /** nothing was paid with it */
  | { readonly kind: 'ignored' }
  | { readonly kind: 'refused'; readonly field: string; readonly value: unknown; readonly rule: string };

const MICRO_PER_CENT = 10_000;
/** A session that was paid at once has the first; one that is paid later has both, the first unpaid. */
const PAYING_EVENTS: readonly string[] = ['checkout.session.completed', 'checkout.session.async_payment_succeeded'];

/**
 * What an event of Stripe's pays in: the total of a Checkout session that was paid, to the account that it names as its
 * client reference. Law: both events of a session, and an event that comes twice, make one posting.
 */
export function readTopUp(event: unknown): TopUp {
  const head = eventHead.safeParse(event);
  if (!head.success) return { kind: 'refused', field: 'type', value: undefined, rule: 'must be an event of Stripe' };
  const { id, type } = head.data;
  if (!PAYING_EVENTS.includes(type)) return { kind: 'ignored' };
  const parsed = checkout.safeParse(event);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return { kind: 'refused', field: issue?.path.join('.') || 'data', value: undefined, rule: issue?.message ?? '' };
  }
  const session = parsed.data.data.object;
  const refuse = (field: keyof typeof session, rule: string): TopUp => ({
    kind: 'refused',
    field: `data.object.${field}`,
    value: session[field],
    rule,
  });
  // paid later, or free of charge
  if (session.payment_status !== 'paid') return { kind: 'ignored' };
  if (session.mode !== 'payment') return refuse('mode', 'must be "payment"');
  if (session.currency !== 'usd') return refuse('currency', 'must be "usd"');
  const cents = session.amount_total ?? 0;
  const micro = cents * MICRO_PER_CENT;
  if (!Number.isInteger(cents) || micro <= 0 || micro > MAX_MICRO)
    return refuse('amount_total', 'must be whole cents above 0, a billion dollars at most');
  if (!session.client_reference_id) return refuse('client_reference_id', 'must be the id of an account');
  return {
    kind: 'top_up',
    account: session.client_reference_id,
    posting: { id: `stripe:${session.id}`, kind: 'top_up', amount: micro, job: null, reason: id },
  };
}
