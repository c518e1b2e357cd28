/** A deployment that tells the outside of ended jobs, and the far sides that it tells: a sink of events, and Stripe. */
import { afterAll, beforeAll, beforeEach, expect, inject } from 'vitest';
import type { UsageEvent } from '../../src/billing/usage-event.ts';
import type { JobView } from '../../src/job/job.ts';
import { type FakeStripe, METER, startStripe } from './fake-stripe.ts';
import { type Payer, TARIFF } from './paying.ts';
import { type Fault, type Receiver, startReceiver } from './receiver.ts';
import { makeRig, type Rig } from './rig.ts';

export const QUAGGA = { prompt: 'a quagga beside a thylacine', width: 256, height: 256, preset: '7x', seed: 7 };
export const TOKEN = 'a-token-for-events';
/** longer than a far side may hang, and the pause after it */
export const PATIENCE = { timeout: 25_000, interval: 50 };

export interface Outside {
  readonly sink: Receiver;
  readonly stripe: FakeStripe;
  readonly rig: Rig;
  /** events that the sink took */
  readonly taken: UsageEvent[];
  /** what becomes of the tries of each, from now to the end of the test */
  sinkFaults: (id: string, tries: number) => Fault;
  stripeFaults: (id: string, tries: number) => Fault;
  front(): { readonly url: string; readonly adminKey: string };
}

/** The deployment of the tests of a file; there from the first of them on. */
export function makeOutside(): Outside {
  const taken: UsageEvent[] = [];
  const outside = { taken, sinkFaults: () => 'none', stripeFaults: () => 'none' } as unknown as {
    -readonly [Name in keyof Outside]: Outside[Name];
  };
  outside.front = () => ({ url: outside.rig.service.url, adminKey: outside.rig.adminKey });

  beforeAll(async () => {
    const sink = await startReceiver({
      idOf: ({ url, body }) => (url.pathname === '/events' ? (JSON.parse(body) as UsageEvent).id : null),
      faultOf: (id, tries) => outside.sinkFaults(id, tries),
      take({ body }) {
        taken.push(JSON.parse(body));
        return { status: 202 };
      },
    });
    outside.sink = sink;
    const stripe = await startStripe((id, tries) => outside.stripeFaults(id, tries));
    outside.stripe = stripe;
    outside.rig = await makeRig({
      bundle: inject('bundle'),
      stepMs: 2,
      vars: {
        TARIFF: JSON.stringify(TARIFF),
        PUBLIC_URL: 'https://pictures.example',
        EVENTS_URL: `${sink.url}/events`,
        EVENTS_TOKEN: TOKEN,
        STRIPE_API_URL: stripe.url,
        STRIPE_API_KEY: METER.key,
        STRIPE_METER: METER.name,
        STRIPE_METER_ID: METER.id,
      },
    });
    await outside.rig.start();
  });
  afterAll(async () => {
    await outside.rig?.remove();
    outside.sink?.close();
    outside.stripe?.close();
  });
  beforeEach(() => {
    taken.length = 0;
    outside.sinkFaults = () => 'none';
    outside.stripeFaults = () => 'none';
  });
  return outside;
}

/** So many jobs of a payer at once, ended. */
export const many = (by: Payer, count: number): Promise<readonly JobView[]> =>
  Promise.all(Array.from({ length: count }, async () => by.ended((await by.create(QUAGGA)).id)));

/** What the sink took, each id and source once; nothing before every one of `ids` is there. */
export async function takenOf({ taken }: Outside, ids: readonly string[]): Promise<ReadonlyMap<string, UsageEvent>> {
  await expect.poll(() => ids.filter((id) => !taken.some((event) => event.id === id)), PATIENCE).toEqual([]);
  return new Map(taken.map((event) => [`${event.source} ${event.id}`, event]));
}
