/**
 * What one job cost, brought to a meter at Stripe: once. Stripe knows an event again for a day only, so an event that
 * may have been taken longer ago is looked for before it is sent again.
 */
import {
  isThere,
  type MeterAnswer,
  type MeterEvent,
  meterForm,
  nextMeterMove,
  readMeterAnswer,
  readSummaries,
  STRIPE_URL,
  STRIPE_VERSION,
  summaryQuery,
} from '../../src/billing/stripe.ts';
import { logLine } from '../../src/job/log.ts';
import type { MeterLetter } from '../../src/job/outbox.ts';
import type { AccountCalls, Remote } from '../../src/job/rpc.ts';
import { readAtMost } from '../../src/stage/read-at-most.ts';
import { within } from '../../src/stage/time-limit.ts';

/** How long Stripe, or the account, may take to answer. */
const TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 64 * 1024;

/** The deployment's meter. */
export interface MeterEnv {
  /** where Stripe's API is; empty: at Stripe */
  readonly STRIPE_API_URL: string;
  /** the event name of the meter; empty: there is none */
  readonly STRIPE_METER: string;
  /** id of the meter: its sums are asked there */
  readonly STRIPE_METER_ID: string;
  /** secret: a key of Stripe's API that may write meter events and read meters */
  readonly STRIPE_API_KEY?: string;
}

/** What the telling needs of its job. */
export interface MeterTools {
  readonly env: MeterEnv;
  readonly account: Pick<Remote<AccountCalls>, 'metered' | 'meterMinute'>;
  /** stores what has changed of the letter, before anything else goes out */
  readonly save: (changes: Partial<MeterLetter>) => void;
  readonly signal: AbortSignal;
}

/** `again` soon, `later`: once somebody had time to look. */
export type MeterTold = 'told' | 'again' | 'later';

/** Brings the event to the meter, and tells the account once the meter has it. Rejects where a far side is silent. */
export async function tellMeter(letter: MeterLetter, { env, account, save, signal }: MeterTools): Promise<MeterTold> {
  const { job, at } = letter;
  const alert = (what: string, more: Readonly<Record<string, string | number | null>> = {}): MeterTold => {
    logLine('alert', { job_id: job, what, ...more });
    return 'later';
  };
  if (!letter.isTaken) {
    const move = nextMeterMove(letter, letter.firstTriedAt, Date.now());
    if (move === 'give_up') {
      // the charge stays one that no meter has taken: whoever reconciles finds it
      alert('meter_given_up', { micro: letter.micro });
      return 'told';
    }
    if (!env.STRIPE_METER || !env.STRIPE_API_KEY) return alert('meter_not_configured');
    let isFound: boolean | 'unclear' = false;
    if (move === 'look') {
      if (!env.STRIPE_METER_ID) return alert('meter_not_configured', { name: 'STRIPE_METER_ID' });
      const aggregated = await askSum(env, letter, signal);
      const minute = await within(TIMEOUT_MS, 'the account', account.meterMinute(at));
      isFound = isThere(aggregated, minute);
      if (isFound === 'unclear') return alert('meter_differs', { aggregated, ...minute });
    }
    if (!isFound) {
      // from its first try on the event may be there, whatever becomes of this object
      if (move === 'look' || letter.firstTriedAt === null) save({ firstTriedAt: Date.now() });
      const { answer, status } = await sendEvent(env, letter, signal);
      if (answer === 'refused') return alert('meter_refused', { status });
      if (answer === 'unclear') {
        logLine('letter_not_taken', { job_id: job, kind: 'meter', status });
        return 'again';
      }
    }
    save({ isTaken: true });
  }
  await within(TIMEOUT_MS, 'the account', account.metered(job));
  return 'told';
}

/** One call of Stripe's API. Rejects where no answer came in time, or it was too long. */
async function callStripe(
  { STRIPE_API_URL, STRIPE_API_KEY }: MeterEnv,
  path: string,
  { form, signal: given }: { readonly form?: string; readonly signal: AbortSignal },
): Promise<{ readonly status: number; readonly body: unknown }> {
  const signal = AbortSignal.any([given, AbortSignal.timeout(TIMEOUT_MS)]);
  const response = await fetch(`${STRIPE_API_URL || STRIPE_URL}${path}`, {
    headers: {
      authorization: `Bearer ${STRIPE_API_KEY}`,
      'stripe-version': STRIPE_VERSION,
      ...(form !== undefined && { 'content-type': 'application/x-www-form-urlencoded' }),
    },
    ...(form !== undefined && { method: 'POST', body: form }),
    // a redirect would take the key along to wherever it leads
    redirect: 'manual',
    signal,
  });
  const bytes = await readAtMost(response.body, MAX_ANSWER_BYTES, signal);
  return { status: response.status, body: bytes && parse(bytes) };
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    // the status decides
    return null;
  }
}

async function sendEvent(
  env: MeterEnv,
  event: MeterEvent,
  signal: AbortSignal,
): Promise<{ readonly answer: MeterAnswer; readonly status: number | null }> {
  try {
    const form = meterForm(env.STRIPE_METER, event);
    const { status, body } = await callStripe(env, '/v1/billing/meter_events', { form, signal });
    return { answer: readMeterAnswer(status, body), status };
  } catch {
    // unreachable, silent or cut off: it may have been taken
    return { answer: readMeterAnswer(null, null), status: null };
  }
}

/** What the meter has of the customer in the minute of the event, micro-dollars. Rejects where Stripe does not say. */
async function askSum(env: MeterEnv, event: MeterEvent, signal: AbortSignal): Promise<number> {
  const path = `/v1/billing/meters/${encodeURIComponent(env.STRIPE_METER_ID)}/event_summaries?${summaryQuery(event)}`;
  const { status, body } = await callStripe(env, path, { signal });
  const sum = status === 200 ? readSummaries(body) : null;
  if (sum === null) throw new Error(`the meter's sum: status ${status}`);
  return sum;
}
