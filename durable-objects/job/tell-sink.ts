/** One event of an ended job, brought to the deployment's sink: an address that takes CloudEvents, or a queue. */
import { USAGE_EVENT_TYPE, type UsageEvent } from '../../src/billing/usage-event.ts';

/** How long the sink may take to answer. */
const TIMEOUT_MS = 10_000;

/** Where events go; nowhere where neither is there. */
export interface SinkEnv {
  /** takes structured CloudEvents by POST; empty: none */
  readonly EVENTS_URL: string;
  /** secret: its bearer token, where it wants one */
  readonly EVENTS_TOKEN?: string;
  /** a Cloudflare Queue */
  readonly EVENTS?: { send(event: UsageEvent, options: { readonly contentType: 'json' }): Promise<unknown> };
}

export const hasSink = ({ EVENTS_URL, EVENTS }: SinkEnv): boolean => EVENTS !== undefined || !!EVENTS_URL;

/** Resolves once the sink has taken the event. Rejects where it has not, or did not say so in time. */
export async function tellSink(env: SinkEnv, event: UsageEvent, given: AbortSignal): Promise<void> {
  if (env.EVENTS) {
    await env.EVENTS.send(event, { contentType: 'json' });
    return;
  }
  if (!env.EVENTS_URL) throw new Error('no sink is configured any more');
  const headers = {
    'content-type': USAGE_EVENT_TYPE,
    ...(env.EVENTS_TOKEN && { authorization: `Bearer ${env.EVENTS_TOKEN}` }),
  };
  const signal = AbortSignal.any([given, AbortSignal.timeout(TIMEOUT_MS)]);
  const body = JSON.stringify(event);
  // a redirect would take the token along to wherever it leads
  const response = await fetch(env.EVENTS_URL, { method: 'POST', headers, body, redirect: 'manual', signal });
  // the status decides, however the rest of the answer ends
  await response.body?.cancel().catch(() => {});
  if (!response.ok) throw new Error(`status ${response.status}`);
}
