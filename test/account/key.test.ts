import { expect, test } from 'vitest';
import { ACCOUNT_ID, formatKey, hashKey, keyPrefix, newAccountId, newKey, parseKey } from '../../src/account/key.ts';
import { checkLink, signLink } from '../../src/account/link.ts';

const JOB = `job_${'0'.repeat(32)}`;
const NOW = 1_795_000_000_000;
const UNTIL = NOW / 1000 + 60;

test('a key is read back as it was written, and its prefix is its beginning', () => {
  for (let i = 0; i < 100; i++) {
    const account = newAccountId();
    expect(account).toMatch(ACCOUNT_ID);
    const key = newKey(account);
    expect(parseKey(formatKey(key))).toEqual(key);
    expect(formatKey(key).startsWith(`${keyPrefix(key)}_`)).toBe(true);
  }
});

test.each([
  '',
  'ralu_',
  'wrong',
  'sk-0123456789',
  `ralu_${'0'.repeat(24)}_short`,
  `ralu_${'0'.repeat(24)}_${'a'.repeat(44)}`,
  `RALU_${'0'.repeat(24)}_${'a'.repeat(43)}`,
])('"%s" is no key', (text) => {
  expect(parseKey(text)).toBeNull();
});

test('the hash depends on the deployment’s secret and on every part of the key', async () => {
  const key = newKey(newAccountId());
  const hash = await hashKey('secret', key);
  expect(hash).toMatch(/^[0-9a-f]{64}$/);
  expect(await hashKey('secret', { ...key })).toBe(hash);
  for (const other of [
    hashKey('another', key),
    hashKey('secret', newKey(key.account)),
    hashKey('secret', { ...key, id: '00000000' }),
    hashKey('secret', { ...key, account: newAccountId() }),
  ])
    expect(await other).not.toBe(hash);
});

test('a link opens one thing of one job until its time', async () => {
  const token = await signLink('secret', JOB, 'image', UNTIL);
  const at = (now: number, job = JOB, opens: 'image' | 'events' = 'image', secret = 'secret', text = token) =>
    checkLink(secret, job, opens, text, now);
  expect(await at(NOW)).toBe('valid');
  expect(await at(UNTIL * 1000 - 1)).toBe('valid');
  expect(await at(UNTIL * 1000)).toBe('expired');
  expect(await at(NOW, JOB, 'events')).toBe('invalid');
  expect(await at(NOW, `job_${'1'.repeat(32)}`)).toBe('invalid');
  expect(await at(NOW, JOB, 'image', 'another')).toBe('invalid');
  expect(await at(NOW, JOB, 'image', 'secret', token.replace(/^\d+/, String(UNTIL + 1)))).toBe('invalid');
  expect(await at(NOW, JOB, 'image', 'secret', 'nonsense')).toBe('invalid');
});
