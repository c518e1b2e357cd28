/**
 * API keys: `ralu_PREFIX_SECRET`. The prefix names account and key and may be shown; of the secret only a keyed hash is
 * kept.
 */
import { encodeBase64 } from 'hono/utils/encode';
import { hmacHex, toHex } from './hmac.ts';

export interface ApiKey {
  /** name of the account's object: `acct_` and 16 hex digits */
  readonly account: string;
  /** 8 hex digits, unique within the account */
  readonly id: string;
  /** 32 random bytes, base64url */
  readonly secret: string;
}

const KEY = /^ralu_([0-9a-f]{16})([0-9a-f]{8})_([A-Za-z0-9_-]{43})$/;
export const ACCOUNT_ID = /^acct_[0-9a-f]{16}$/;
export const KEY_ID = /^[0-9a-f]{8}$/;

const random = (bytes: number): ArrayBuffer => crypto.getRandomValues(new Uint8Array(bytes)).buffer;

export const newAccountId = (): string => `acct_${toHex(random(8))}`;

export function newKey(account: string): ApiKey {
  return {
    account,
    id: toHex(random(4)),
    secret: encodeBase64(random(32)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', ''),
  };
}

/** What may be shown of a key after its first showing. */
export const keyPrefix = ({ account, id }: Pick<ApiKey, 'account' | 'id'>): string =>
  `ralu_${account.slice('acct_'.length)}${id}`;

/** The key as its holder sends it. Law: `parseKey(formatKey(key))` is `key`. */
export const formatKey = (key: ApiKey): string => `${keyPrefix(key)}_${key.secret}`;

/** The parts of a key, or null where the text is none. Says nothing about whether it is valid. */
export function parseKey(text: string): ApiKey | null {
  const [, account, id, secret] = KEY.exec(text) ?? [];
  return account && id && secret ? { account: `acct_${account}`, id, secret } : null;
}

/**
 * What is kept of a key, 64 hex digits: HMAC-SHA-256 of the whole key, so that a stolen table opens nothing without the
 * deployment's own secret.
 */
export const hashKey = (signingSecret: string, key: ApiKey): Promise<string> =>
  hmacHex(signingSecret, 'key', formatKey(key));
