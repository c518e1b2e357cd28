/**
 * Webhooks by the Standard Webhooks specification 1.0: signed `id.timestamp.body`, tried again with growing pauses.
 * Pure but for the signature.
 *
 * What a caller names is only ever fetched when it is no address of an inner network. Names are looked up before every
 * try, because what a name leads to can change; Workers' own `fetch` leaves Cloudflare's network from outside and
 * reaches no private one, so the look-up guards deployments elsewhere too.
 */
import { encodeBase64 } from 'hono/utils/encode';
import { hmacBytes } from '../account/hmac.ts';

/** Whose shape the body has: that of the surface the job was started at. */
export type Door = 'jobs' | 'replicate' | 'fal';

/** Where to tell that a job has ended, and how far that is. Times are milliseconds since 1970. */
export interface Webhook {
  readonly url: string;
  readonly door: Door;
  /** of this service, for the addresses in the body */
  readonly origin: string;
  readonly tries: number;
  readonly state: 'waiting' | 'delivered' | 'given_up';
}

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
  const tried = { ...webhook, tries: webhook.tries + 1 };
  if (status !== null && status >= 200 && status < 300)
    return { webhook: { ...tried, state: 'delivered' }, pauseMs: null };
  const pause = PAUSES_SECONDS[webhook.tries];
  if (status === 410 || pause === undefined) return { webhook: { ...tried, state: 'given_up' }, pauseMs: null };
  return { webhook: tried, pauseMs: pause * 1000 };
}

/**
 * A secret of the account in the specification's form; derived from the deployment's, so only its generation is kept.
 */
export const webhookSecret = async (signingSecret: string, account: string, generation: number): Promise<string> =>
  `whsec_${encodeBase64(await hmacBytes(signingSecret, 'webhook', `${account}\0${generation}`))}`;

const encoder = new TextEncoder();

/** The headers that let a receiver verify `body` with any of the secrets. `id` is the same at every try. */
export async function webhookHeaders(
  secrets: readonly string[],
  id: string,
  seconds: number,
  body: string,
): Promise<Record<string, string>> {
  const signatures = await Promise.all(secrets.map((secret) => sign(secret, `${id}.${seconds}.${body}`)));
  return {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': String(seconds),
    'webhook-signature': signatures.map((signature) => `v1,${signature}`).join(' '),
  };
}

/** HMAC-SHA-256 under the decoded secret, base64. */
async function sign(secret: string, text: string): Promise<string> {
  const bytes = Uint8Array.from(atob(secret.slice('whsec_'.length)), (character) => character.charCodeAt(0));
  const key = await crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return encodeBase64(await crypto.subtle.sign('HMAC', key, encoder.encode(text)));
}

/** IPv4 blocks nobody outside may be sent to: [first address, prefix length]. Source: IANA special-purpose registry. */
const PRIVATE_V4: readonly (readonly [number, number])[] = (
  [
    ['0.0.0.0', 8],
    ['10.0.0.0', 8],
    ['100.64.0.0', 10],
    ['127.0.0.0', 8],
    ['169.254.0.0', 16],
    ['172.16.0.0', 12],
    ['192.0.0.0', 24],
    ['192.0.2.0', 24],
    ['192.168.0.0', 16],
    ['198.18.0.0', 15],
    ['198.51.100.0', 24],
    ['203.0.113.0', 24],
    ['224.0.0.0', 4],
    ['240.0.0.0', 4],
  ] as const
).map(([address, length]) => [toNumber(address), length] as const);

function toNumber(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

const V4 = /^(?:\d{1,3}\.){3}\d{1,3}$/;

/**
 * Whether an IP address (IPv6 without brackets) belongs to no public network. Of IPv6 only global unicast (2000::/3)
 * counts as public, without documentation, 6to4 and Teredo addresses.
 */
export function isPrivateAddress(address: string): boolean {
  if (V4.test(address)) {
    const value = toNumber(address);
    return PRIVATE_V4.some(
      ([first, length]) => Math.floor(value / 2 ** (32 - length)) === Math.floor(first / 2 ** (32 - length)),
    );
  }
  const [first = '', second = ''] = address.toLowerCase().split(':');
  const head = Number.parseInt(first || '0', 16);
  const isGlobal = head >= 0x2000 && head <= 0x3fff;
  return !isGlobal || head === 0x2002 || (head === 0x2001 && ['', '0', '0000', 'db8', '0db8'].includes(second));
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
  const literal = host.startsWith('[') ? host.slice(1, -1) : V4.test(host) ? host : null;
  if (literal !== null) return isPrivateAddress(literal) ? 'must not be an address of a private network' : null;
  return /\.(localhost|local|internal|home\.arpa)\.?$|^[^.]+\.?$/.test(host) ? 'must be a public name' : null;
}

/**
 * Where a host leads: itself where it is an address, or else the name's addresses by DNS over HTTPS; empty where it has
 * none.
 */
export async function addressesOf(
  host: string,
  resolver: string,
  fetcher: (url: string, init: RequestInit) => Promise<Response>,
): Promise<readonly string[]> {
  if (V4.test(host)) return [host];
  if (host.startsWith('[')) return [host.slice(1, -1)];
  const answers = await Promise.all(
    (['A', 'AAAA'] as const).map(async (type) => {
      const response = await fetcher(`${resolver}?name=${encodeURIComponent(host)}&type=${type}`, {
        headers: { accept: 'application/dns-json' },
      });
      const { Answer = [] } = (await response.json()) as { Answer?: readonly { type: number; data: string }[] };
      // 5 is a CNAME on the way
      return Answer.filter((answer) => answer.type === 1 || answer.type === 28).map(({ data }) => data);
    }),
  );
  return answers.flat();
}
