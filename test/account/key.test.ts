import { expect, test } from 'vitest';
import { ACCOUNT_ID, keyPrefix, makeKey, newAccountId, readKey } from '../../src/account/key.ts';
import { ANYWHERE, JURISDICTIONS, placeCode, placeIn, placeOf } from '../../src/account/place.ts';

const SECRETS = { current: 'a secret of thirty-two bytes or more', previous: null };
const NEXT = { current: 'another secret of thirty-two bytes or more', previous: SECRETS.current };

test('a key is read back as it was made, and its prefix is its beginning', async () => {
  for (let i = 0; i < 50; i++) {
    const account = newAccountId();
    expect(account).toMatch(ACCOUNT_ID);
    const { id, prefix, text, hash } = await makeKey(SECRETS, account);
    expect(await readKey(SECRETS, text)).toEqual({ account, id, place: ANYWHERE, isSigned: true, hashes: [hash] });
    expect(text.startsWith(`${prefix}_`)).toBe(true);
    expect(keyPrefix(account, id, true)).toBe(prefix);
    expect(text).not.toContain(hash);
  }
});

test('a key carries version, jurisdiction and region', async () => {
  expect((await makeKey(SECRETS, newAccountId())).text).toMatch(/^ralu_2noan/);
  for (const jurisdiction of [null, ...JURISDICTIONS])
    expect(placeOf(placeCode(placeIn(jurisdiction)))).toEqual({ jurisdiction, region: 'any' });
  const account = newAccountId();
  const { text } = await makeKey(SECRETS, account, placeIn('eu'));
  expect(text).toMatch(/^ralu_2euan/);
  expect((await readKey(SECRETS, text))?.place).toEqual(placeIn('eu'));
  // its jobs go where its letters say, so nobody may change them
  expect(await readKey(SECRETS, text.replace('2euan', '2noan'))).toBeNull();
  for (const code of ['', 'no', 'xxan', 'noxx', 'noan1']) expect(placeOf(code)).toBeNull();
});

test('no character of a key can be another', async () => {
  const { text } = await makeKey(SECRETS, newAccountId());
  for (let i = 0; i < text.length; i++) {
    const other = text[i] === 'b' ? 'c' : 'b';
    const read = await readKey(SECRETS, text.slice(0, i) + other + text.slice(i + 1));
    // the last character of a MAC has four bits that no byte holds: they must be right all the same
    expect(read, `character ${i}`).toBeNull();
  }
});

test('of 300 invented keys of the right form none is one', async () => {
  const { text } = await makeKey(SECRETS, newAccountId());
  for (let i = 0; i < 300; i++) {
    const mac = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString('base64url');
    expect(await readKey(SECRETS, text.slice(0, -22) + mac)).toBeNull();
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
  `ralu_2noan${'0'.repeat(24)}_${'a'.repeat(65)}`,
  `ralu_3noan${'0'.repeat(24)}_${'a'.repeat(65)}`,
])('"%s" is no key', async (text) => {
  expect(await readKey(SECRETS, text)).toBeNull();
});

test('what is kept of a key depends on the deployment’s secret and on the whole of the key', async () => {
  const account = newAccountId();
  const { hash } = await makeKey(SECRETS, account);
  expect(hash).toMatch(/^[0-9a-f]{64}$/);
  expect((await makeKey(SECRETS, account)).hash).not.toBe(hash);
});

test('a key made before the secret was replaced is read, by what is kept of it, as long as the old one is there', async () => {
  const { text, hash } = await makeKey(SECRETS, newAccountId());
  expect(await readKey(NEXT, text)).toMatchObject({ isSigned: true, hashes: [hash] });
  expect(await readKey({ ...NEXT, previous: null }, text)).toBeNull();
  // the old secret signs nothing new
  expect(await readKey(SECRETS, (await makeKey(NEXT, newAccountId())).text)).toBeNull();
});

// made by version 0.1.0, whose accounts keep this hash
const OLD = {
  secret: 'm57YK770jXMNMnShR67JlmjQTtK5EU-5',
  key: 'ralu_5c4f0bbb687b8d8a024465a6_YpZszO1PNBKEn837KDCjsT83tckbM6mhx2zpsHqpERI',
  hash: 'bee24ac65b41566a49cacf9b705e3a81a5d5b5a01361ea51c7cef0173738c7a0',
};

test('a key of the first form is read with the hash that accounts kept of it, and is not trusted by itself', async () => {
  const read = await readKey({ current: OLD.secret, previous: null }, OLD.key);
  expect(read).toEqual({
    account: 'acct_5c4f0bbb687b8d8a',
    id: '024465a6',
    place: ANYWHERE,
    isSigned: false,
    hashes: [OLD.hash],
  });
  expect((await readKey({ current: NEXT.current, previous: OLD.secret }, OLD.key))?.hashes[1]).toBe(OLD.hash);
});
