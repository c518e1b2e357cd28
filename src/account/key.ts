/**
 * API keys. One says itself that it is ours, so an invented key is refused before any object is asked:
 *
 *   ralu_ 2 noan 0123456789abcdef 01234567 _ SECRET MAC
 *         │ │    │                │          │      └ 16 bytes, base64url, over everything before it
 *         │ │    │                │          └ 32 random bytes, base64url
 *         │ │    │                └ the key within its account
 *         │ │    └ the account: its id without `acct_`
 *         │ └ where the jobs of the account are kept (place.ts)
 *         └ version of the format
 *
 * All before the `_` may be shown. Of the whole only a keyed hash is kept. Version 1, `ralu_`, account, key, `_` and
 * secret, had no MAC.
 */
import { timingSafeEqual } from 'hono/utils/buffer';
import { encodeBase64 } from 'hono/utils/encode';
import { allOf, hmacBytes, hmacHex, type Secrets, toHex, underivedHmac } from './hmac.ts';
import { ANYWHERE, type Place, placeCode, placeOf } from './place.ts';

const KEY = /^ralu_2([a-z]{4})([0-9a-f]{16})([0-9a-f]{8})_([A-Za-z0-9_-]{43})([A-Za-z0-9_-]{22})$/;
const OLD_KEY = /^ralu_([0-9a-f]{16})([0-9a-f]{8})_[A-Za-z0-9_-]{43}$/;
export const ACCOUNT_ID = /^acct_[0-9a-f]{16}$/;
export const KEY_ID = /^[0-9a-f]{8}$/;

const MAC_BYTES = 16;

const random = (bytes: number): ArrayBuffer => crypto.getRandomValues(new Uint8Array(bytes)).buffer;

const base64url = (bytes: ArrayBuffer): string =>
  encodeBase64(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

export const newAccountId = (): string => `acct_${toHex(random(8))}`;

/** A key as it is made. */
export interface MadeKey {
  /** 8 hex digits, unique within the account */
  readonly id: string;
  /** what may be shown of it later */
  readonly prefix: string;
  /** the key itself, to be shown once */
  readonly text: string;
  /** what is kept of it: 64 hex digits */
  readonly hash: string;
}

/** What may be shown of a key: its text begins so. */
export const keyPrefix = (account: string, id: string, isSigned: boolean, place: Place = ANYWHERE): string =>
  `ralu_${isSigned ? `2${placeCode(place)}` : ''}${account.slice('acct_'.length)}${id}`;

/** A new key of an account whose jobs are kept at `place`, signed with the deployment's current secret. */
export async function makeKey({ current }: Secrets, account: string, place: Place = ANYWHERE): Promise<MadeKey> {
  const id = toHex(random(4));
  const prefix = keyPrefix(account, id, true, place);
  const head = `${prefix}_${base64url(random(32))}`;
  const text = head + (await macOf(current, head));
  return { id, prefix, text, hash: await hmacHex(current, 'key-hash', text) };
}

const macOf = async (secret: string, head: string): Promise<string> =>
  base64url((await hmacBytes(secret, 'key', head)).slice(0, MAC_BYTES));

/** A key as it was read. */
export interface ReadKey {
  readonly account: string;
  readonly id: string;
  readonly place: Place;
  /** it is ours beyond doubt; one of version 1 may be anybody's invention until its account has been asked */
  readonly isSigned: boolean;
  /** what may be kept of it, one for each secret that it may come from */
  readonly hashes: readonly string[];
}

/** The key that a text is; null where it has no key's form, or its MAC is not ours. Touches nothing. */
export async function readKey(secrets: Secrets, text: string): Promise<ReadKey | null> {
  const [, code = '', account, id] = KEY.exec(text) ?? [];
  const place = placeOf(code);
  if (account && id && place) {
    const [head, mac] = [text.slice(0, -22), text.slice(-22)];
    for (const secret of allOf(secrets))
      if (await timingSafeEqual(mac, await macOf(secret, head)))
        return {
          account: `acct_${account}`,
          id,
          place,
          isSigned: true,
          hashes: [await hmacHex(secret, 'key-hash', text)],
        };
    return null;
  }
  const [, oldAccount, oldId] = OLD_KEY.exec(text) ?? [];
  if (!oldAccount || !oldId) return null;
  const hashes = await Promise.all(
    allOf(secrets).map(async (secret) => toHex(await underivedHmac(secret, 'key', text))),
  );
  return { account: `acct_${oldAccount}`, id: oldId, place: ANYWHERE, isSigned: false, hashes };
}
