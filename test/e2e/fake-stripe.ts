/**
 * Stripe's meters, as far as its documentation says what they do: events are known again by their identifiers for a
 * while, and a customer's sum of a minute can be asked. Sources:
 * https://docs.stripe.com/api/billing/meter-event/create,
 * https://docs.stripe.com/api/billing/meter-event-summary/list
 */
import { type Answer, type Fault, type Heard, type Receiver, startReceiver } from './receiver.ts';

export interface MeterEvent {
  readonly identifier: string;
  readonly customer: string;
  readonly value: number;
  /** seconds */
  readonly timestamp: number;
}

export interface FakeStripe extends Receiver {
  /** what the customers are billed for */
  readonly events: readonly MeterEvent[];
  /** as after a day: no identifier is known any more */
  forget(): void;
  /** an event that somebody else has sent */
  put(event: MeterEvent): void;
}

export const METER = { name: 'ralu_usd', id: 'mtr_1', key: 'sk_test_outside' } as const;

export async function startStripe(faultOf: (id: string, tries: number) => Fault): Promise<FakeStripe> {
  const events: MeterEvent[] = [];
  const known = new Set<string>();

  function add(form: URLSearchParams): Answer {
    const identifier = form.get('identifier') ?? '';
    if (form.get('event_name') !== METER.name) return refusal('No active meter found');
    if (known.has(identifier)) return refusal(`An event already exists with identifier ${identifier}.`);
    known.add(identifier);
    events.push({
      identifier,
      customer: form.get('payload[stripe_customer_id]') ?? '',
      value: Number(form.get('payload[value]')),
      timestamp: Number(form.get('timestamp')),
    });
    return { status: 200, body: { object: 'billing.meter_event', identifier } };
  }

  function sum({ searchParams }: URL): Answer {
    const [from, to] = ['start_time', 'end_time'].map((name) => Number(searchParams.get(name))) as [number, number];
    if (from % 60 !== 0 || to % 60 !== 0 || from >= to) return refusal('must be aligned with minute boundaries');
    const found = events.filter(
      ({ customer, timestamp }) => customer === searchParams.get('customer') && timestamp >= from && timestamp < to,
    );
    const aggregated_value = found.reduce((total, { value }) => total + value, 0);
    return { status: 200, body: { object: 'list', data: found.length > 0 ? [{ aggregated_value }] : [] } };
  }

  function take({ method, url, headers, body }: Heard): Answer {
    if (headers.authorization !== `Bearer ${METER.key}`) return { status: 401 };
    if (method === 'POST' && url.pathname === '/v1/billing/meter_events') return add(new URLSearchParams(body));
    if (method === 'GET' && url.pathname === `/v1/billing/meters/${METER.id}/event_summaries`) return sum(url);
    return { status: 404 };
  }

  const idOf = ({ method, body }: Heard): string | null =>
    method === 'POST' ? new URLSearchParams(body).get('identifier') : null;
  const receiver = await startReceiver({ idOf, faultOf, take });
  return { ...receiver, events, forget: () => known.clear(), put: (event) => void events.push(event) };
}

const refusal = (message: string): Answer => ({
  status: 400,
  body: { error: { type: 'invalid_request_error', message } },
});
