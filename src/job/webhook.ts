/**
 * Webhooks by the Standard Webhooks specification 1.0: signed `id.timestamp.body`, tried again with growing pauses.
 * Pure but for the signature.
 *
 * What a caller names is only ever fetched when it is no address of an inner network. Names are looked up before every
 * try, because what a name leads to can change; Workers' own `fetch` leaves Cloudflare's network from outside and
 * reaches no private one, so the look-up guards deployments elsewhere too.
 */
import ipaddr from 'ipaddr.js';
import { Webhook as Signer } from 'standardwebhooks';
import { z } from 'zod';
import { toHex } from '../account/hmac.ts';
import { readAtMost } from '../stage/read-at-most.ts';

/** Whose shape the body has: that of the surface the job was started at. */
export type Door = 'jobs' | 'replicate' | 'fal' | 'bfl';

/** What can be told of a request while it goes on, and when it is over, as Replicate names it. */
export const WEBHOOK_EVENTS = ['start', 'output', 'logs', 'completed'] as const;
export type WebhookEvent = (typeof WEBHOOK_EVENTS)[number];

/** Where to tell that a job has ended, and how far that is. Times are milliseconds since 1970. */
export interface Webhook {
  readonly url: string;
  readonly door: Door;
  /** of this service, with the path before `/v1` where there is one: for the addresses in the body */
  readonly origin: string;
  /** the caller's own, which signs beside the account's as Black Forest Labs does; gone after the last try */
  readonly secret?: string;
  /** what is told; absent: the end */
  readonly events?: readonly WebhookEvent[];
  readonly tries: number;
  readonly state: 'waiting' | 'delivered' | 'given_up';
}

/** A webhook as a request names it. */
export type AskedWebhook = Omit<Webhook, 'tries' | 'state'>;

/**
 * Pauses after the first, second, … failed try; after the last one it is given up. Together they stay within a day, for
 * which a job is kept where a deployment does not say otherwise.
 */
const PAUSES_SECONDS = [5, 30, 120, 600, 3600, 4 * 3600, 12 * 3600] as const;
export const LONGEST_PAUSE_MS = Math.max(...PAUSES_SECONDS) * 1000;

/**
 * The webhook after a try with this answer (null: none came), and the milliseconds until the next one; null: there is
 * none. 410 means that nobody wants it any more.
 */
export function afterTry(
  webhook: Webhook,
  status: number | null,
): { readonly webhook: Webhook; readonly pauseMs: number | null } {
  const { secret: _, ...kept } = webhook;
  const tries = webhook.tries + 1;
  if (status !== null && status >= 200 && status < 300)
    return { webhook: { ...kept, tries, state: 'delivered' }, pauseMs: null };
  const pause = PAUSES_SECONDS[webhook.tries];
  if (status === 410 || pause === undefined) return { webhook: { ...kept, tries, state: 'given_up' }, pauseMs: null };
  return { webhook: { ...webhook, tries }, pauseMs: pause * 1000 };
}

/** The headers that let a receiver verify `body` with any of the secrets. `id` is the same at every try. */
export function webhookHeaders(
  secrets: readonly string[],
  id: string,
  seconds: number,
  body: string,
): Record<string, string> {
  const at = new Date(seconds * 1000);
  return {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': String(seconds),
    'webhook-signature': secrets.map((secret) => new Signer(secret).sign(id, at, body)).join(' '),
  };
}

/**
 * The header by which a receiver verifies `body` with a secret of its own: HMAC-SHA-256 of the body, in hex. Source:
 * Black Forest Labs, "Webhook Integration" of its published guide to the API.
 */
export async function bflSignature(secret: string, body: string): Promise<Record<string, string>> {
  const encoder = new TextEncoder();
  const hmac = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', encoder.encode(secret), hmac, false, ['sign']);
  return { 'x-bfl-signature': `sha256=${toHex(await crypto.subtle.sign('HMAC', key, encoder.encode(body)))}` };
}

/**
 * Whether an IP address (IPv6 without brackets) may not be called: whatever is none, stands in a special-purpose
 * registry of IANA (by the list of ipaddr.js), or, of IPv6, is not in the block for global unicast, 2000::/3.
 */
export function isPrivateAddress(address: string): boolean {
  if (ipaddr.IPv4.isValidFourPartDecimal(address)) return ipaddr.IPv4.parse(address).range() !== 'unicast';
  if (!ipaddr.IPv6.isValid(address) || address.includes('%')) return true;
  const parsed = ipaddr.IPv6.parse(address);
  return parsed.range() !== 'unicast' || (parsed.parts[0] ?? 0) >> 13 !== 1;
}

/**
 * Why `url` is no place for a webhook, or null. Names are judged here, not where they lead. `allowsPrivate` is for a
 * service on one's own machine.
 */
export function refuseWebhookUrl(url: string, allowsPrivate: boolean): string | null {
  const parsed = URL.parse(url);
  if (!parsed) return 'must be an address';
  if (parsed.username || parsed.password) return 'must not carry a name or a password';
  if (allowsPrivate)
    return parsed.protocol === 'http:' || parsed.protocol === 'https:' ? null : 'must be http or https';
  if (parsed.protocol !== 'https:') return 'must be https';
  if (parsed.port !== '') return 'must use port 443';
  const host = parsed.hostname;
  const literal = literalOf(host);
  if (literal !== null) return isPrivateAddress(literal) ? 'must not be an address of a private network' : null;
  return /\.(localhost|local|internal|home\.arpa)\.?$|^[^.]+\.?$/.test(host) ? 'must be a public name' : null;
}

/** The address that a URL's host is, without brackets; null where it is a name. */
const literalOf = (host: string): string | null => {
  if (host.startsWith('[')) return host.slice(1, -1);
  return ipaddr.IPv4.isValidFourPartDecimal(host) ? host : null;
};

/** Most bytes of a resolver's answer, and most addresses of a name. */
const MAX_ANSWER_BYTES = 64 * 1024;
const MAX_ANSWERS = 256;
const dnsAnswer = z.object({
  Answer: z
    .array(z.object({ type: z.number(), data: z.string().max(1000) }))
    .max(MAX_ANSWERS)
    .default([]),
});

/**
 * Where a host leads: itself where it is an address, or else the name's addresses by DNS over HTTPS; empty where it has
 * none. Throws where the resolver answers something else, or too much.
 */
export async function addressesOf(
  host: string,
  resolver: string,
  fetcher: (url: string, init: RequestInit) => Promise<Response>,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const literal = literalOf(host);
  if (literal !== null) return [literal];
  const answers = await Promise.all(
    (['A', 'AAAA'] as const).map(async (type) => {
      const response = await fetcher(`${resolver}?name=${encodeURIComponent(host)}&type=${type}`, {
        headers: { accept: 'application/dns-json' },
        redirect: 'manual',
        signal,
      });
      const bytes = response.ok ? await readAtMost(response.body, MAX_ANSWER_BYTES, signal) : null;
      if (!bytes) throw new Error(`the resolver answered ${response.status}, or over ${MAX_ANSWER_BYTES} bytes`);
      const { Answer } = dnsAnswer.parse(JSON.parse(new TextDecoder().decode(bytes)));
      // 5 is a CNAME on the way
      return Answer.filter((answer) => answer.type === 1 || answer.type === 28).map(({ data }) => data);
    }),
  );
  return answers.flat();
}
