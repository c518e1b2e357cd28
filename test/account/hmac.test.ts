import { createHmac, hkdfSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { hmacHex, type Purpose, secretsFrom, underivedHmac } from '../../src/account/hmac.ts';

const SECRET = 'a secret of thirty-two bytes or more';
const PURPOSES: readonly Purpose[] = ['key', 'key-hash', 'job', 'link', 'webhook', 'digest', 'account-tag', 'share'];

test('every purpose signs with a key of its own: what Node derives and signs is the same', async () => {
  const signed = new Set<string>();
  for (const purpose of PURPOSES) {
    const subkey = Buffer.from(hkdfSync('sha256', SECRET, '', `ralu/2/${purpose}`, 32));
    const expected = createHmac('sha256', subkey).update('text').digest('hex');
    expect(await hmacHex(SECRET, purpose, 'text')).toBe(expected);
    signed.add(expected);
  }
  expect(signed.size).toBe(PURPOSES.length);
});

test('a secret signs alike however many others have signed meanwhile', async () => {
  const before = await hmacHex(SECRET, 'key', 'text');
  const others = Array.from({ length: 40 }, (_, i) => hmacHex(`${SECRET} ${i}`, 'key', 'text'));
  expect(new Set([before, ...(await Promise.all(others))]).size).toBe(41);
  expect(await hmacHex(SECRET, 'key', 'text')).toBe(before);
});

test('what was signed before is verified as it was', async () => {
  const expected = createHmac('sha256', SECRET).update('webhook\0text').digest();
  expect(Buffer.from(await underivedHmac(SECRET, 'webhook', 'text'))).toEqual(expected);
});

test('an empty previous secret is none', () => {
  expect(secretsFrom({ SIGNING_SECRET: 'a', SIGNING_SECRET_PREVIOUS: '' })).toEqual({ current: 'a', previous: null });
  expect(secretsFrom({ SIGNING_SECRET: 'a' })).toEqual({ current: 'a', previous: null });
  expect(secretsFrom({ SIGNING_SECRET: 'a', SIGNING_SECRET_PREVIOUS: 'b' }).previous).toBe('b');
});
