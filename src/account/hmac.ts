/**
 * What is signed. A deployment has one secret; every purpose signs with a key of its own, derived from it (HKDF,
 * RFC 5869), so nothing signed for one purpose passes for another, and what leaks of one tells nothing of the others.
 */

/** Everything that is signed, and what for. */
export type Purpose = 'key' | 'key-hash' | 'job' | 'link' | 'webhook' | 'digest' | 'account-tag' | 'share';

/** A deployment's secrets: `current` signs and verifies, `previous` only verifies what was signed before a rotation. */
export interface Secrets {
  readonly current: string;
  readonly previous: string | null;
}

/** The secrets as the configuration has them. */
export interface SecretVariables {
  readonly SIGNING_SECRET: string;
  readonly SIGNING_SECRET_PREVIOUS?: string;
}

export const secretsFrom = ({ SIGNING_SECRET, SIGNING_SECRET_PREVIOUS }: SecretVariables): Secrets => ({
  current: SIGNING_SECRET,
  previous: SIGNING_SECRET_PREVIOUS || null,
});

/** Those there are, the one that signs first. */
export const allOf = ({ current, previous }: Secrets): readonly string[] =>
  previous === null ? [current] : [current, previous];

const encoder = new TextEncoder();

/** Part of every derivation: another number would make every signature another. */
const VERSION = 2;

const HMAC = { name: 'HMAC', hash: 'SHA-256' } as const;

export const toHex = (bytes: ArrayBuffer): string =>
  Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');

/** Keys that are kept: those of two secrets for every purpose, and some more. */
const MAX_SUBKEYS = 32;
/** Derived keys by purpose and secret: to derive one takes longer than to sign with it. */
const subkeys = new Map<string, Subkey>();
type Subkey = Awaited<ReturnType<typeof derive>>;

async function subkey(secret: string, purpose: Purpose): Promise<Subkey> {
  const name = `${purpose} ${secret}`;
  const known = subkeys.get(name);
  if (known) return known;
  const key = await derive(secret, purpose);
  if (subkeys.size >= MAX_SUBKEYS) subkeys.clear();
  subkeys.set(name, key);
  return key;
}

async function derive(secret: string, purpose: Purpose) {
  const whole = await crypto.subtle.importKey('raw', encoder.encode(secret), 'HKDF', false, ['deriveKey']);
  const info = encoder.encode(`ralu/${VERSION}/${purpose}`);
  const how = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info };
  return crypto.subtle.deriveKey(how, whole, { ...HMAC, length: 256 }, false, ['sign']);
}

/** HMAC-SHA-256 of `text` under the key of this purpose; 32 bytes. */
export const hmacBytes = async (secret: string, purpose: Purpose, text: string): Promise<ArrayBuffer> =>
  crypto.subtle.sign('HMAC', await subkey(secret, purpose), encoder.encode(text));

/** The same as 64 hex digits. */
export const hmacHex = async (secret: string, purpose: Purpose, text: string): Promise<string> =>
  toHex(await hmacBytes(secret, purpose, text));

/**
 * What was signed before purposes had keys of their own: HMAC-SHA-256 of `purpose`, a zero byte and `text` under the
 * secret itself. Only to verify what is still kept of that time.
 */
export async function underivedHmac(secret: string, purpose: string, text: string): Promise<ArrayBuffer> {
  const key = await crypto.subtle.importKey('raw', encoder.encode(secret), HMAC, false, ['sign']);
  return crypto.subtle.sign('HMAC', key, encoder.encode(`${purpose}\0${text}`));
}
