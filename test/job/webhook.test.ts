import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addressesOf,
  afterTry,
  isPrivateAddress,
  refuseWebhookUrl,
  type Webhook,
  webhookHeaders,
  webhookSecret,
} from '../../src/job/webhook.ts';

const WAITING: Webhook = {
  url: 'https://example.com/hook',
  door: 'jobs',
  origin: 'https://ralu.example',
  tries: 0,
  state: 'waiting',
};

describe('tries', () => {
  test('pauses grow, and stay within the day that a job is kept', () => {
    let webhook = WAITING;
    const pauses: number[] = [];
    while (webhook.state === 'waiting') {
      const after = afterTry(webhook, 500);
      webhook = after.webhook;
      if (after.pauseMs !== null) pauses.push(after.pauseMs);
    }
    expect(webhook).toMatchObject({ state: 'given_up', tries: pauses.length + 1 });
    expect(pauses).toEqual(pauses.toSorted((a, b) => a - b));
    expect(pauses.reduce((sum, pause) => sum + pause)).toBeLessThan(24 * 3_600_000);
  });

  test.each([
    [204, 'delivered'],
    [299, 'delivered'],
    [302, 'waiting'],
    [500, 'waiting'],
    [null, 'waiting'],
    [410, 'given_up'],
  ] as const)('status %s: %s', (status, state) => {
    expect(afterTry(WAITING, status).webhook.state).toBe(state);
    expect(afterTry(WAITING, status).pauseMs === null).toBe(state !== 'waiting');
  });
});

test('the signature is the specification’s: HMAC-SHA-256 of id.timestamp.body under the decoded secret', async () => {
  const secret = await webhookSecret('signing', 'acct_1', 0);
  const next = await webhookSecret('signing', 'acct_1', 1);
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  expect(new Set([secret, next, await webhookSecret('signing', 'acct_2', 0)]).size).toBe(3);
  const headers = await webhookHeaders([next, secret], 'job_1', 1_700_000_000, '{"a":1}');
  const [first, second] = [next, secret].map((each) =>
    createHmac('sha256', Buffer.from(each.slice(6), 'base64'))
      .update('job_1.1700000000.{"a":1}')
      .digest('base64'),
  );
  expect(headers).toMatchObject({
    'webhook-id': 'job_1',
    'webhook-timestamp': '1700000000',
    'webhook-signature': `v1,${first} v1,${second}`,
  });
});

describe('no private addresses', () => {
  test.each([
    '127.0.0.1',
    '10.1.2.3',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '224.0.0.1',
    '255.255.255.255',
    '::1',
    '::',
    'fe80::1',
    'fc00::1',
    'fd12::1',
    '::ffff:10.0.0.1',
    '2002:a00:1::',
    '2001:db8::1',
    '2001::1',
    'ff02::1',
    '64:ff9b::1',
  ])('%s', (address) => {
    expect(isPrivateAddress(address)).toBe(true);
  });
  test.each([
    '1.1.1.1',
    '172.32.0.1',
    '100.128.0.1',
    '192.167.255.255',
    '223.255.255.255',
    '2606:4700:4700::1111',
    '2001:4860:4860::8888',
  ])('%s is public', (address) => {
    expect(isPrivateAddress(address)).toBe(false);
  });

  test.each([
    ['nonsense', 'address'],
    ['http://example.com/hook', 'https'],
    ['ftp://example.com', 'https'],
    ['https://example.com:8443/', '443'],
    ['https://user:pass@example.com/', 'password'],
    ['https://localhost/', 'public name'],
    ['https://printer/', 'public name'],
    ['https://nas.local/', 'public name'],
    ['https://metadata.google.internal/', 'public name'],
    ['https://127.0.0.1/', 'private network'],
    ['https://0x7f.1/', 'private network'],
    ['https://2130706433/', 'private network'],
    ['https://[::1]/', 'private network'],
    ['https://[::ffff:10.0.0.1]/', 'private network'],
  ])('%s is refused', (url, rule) => {
    expect(refuseWebhookUrl(url, false)).toContain(rule);
  });

  test('public places pass, and on one’s own machine private ones too', () => {
    for (const url of ['https://example.com/hook?x=1', 'https://1.1.1.1/', 'https://sub.example.co.uk/'])
      expect(refuseWebhookUrl(url, false)).toBeNull();
    expect(refuseWebhookUrl('http://127.0.0.1:9000/', true)).toBeNull();
    expect(refuseWebhookUrl('file:///etc/passwd', true)).not.toBeNull();
  });

  test('any way to write an IPv4 address of a private block is caught', () => {
    fc.assert(
      fc.property(fc.constantFrom(10, 127), fc.nat(255), fc.nat(255), fc.nat(255), (a, b, c, d) => {
        const value = ((a * 256 + b) * 256 + c) * 256 + d;
        for (const host of [
          `${a}.${b}.${c}.${d}`,
          String(value),
          `0x${value.toString(16)}`,
          `0${value.toString(8)}`,
          `${a}.${value % 2 ** 24}`,
        ]) {
          expect(refuseWebhookUrl(`https://${host}/`, false)).toContain('private');
        }
      }),
    );
  });

  test('a name leads where DNS says; an address to itself', async () => {
    const asked: string[] = [];
    const fetcher = async (url: string): Promise<Response> => {
      asked.push(url);
      const isV6 = url.endsWith('AAAA');
      return Response.json(
        isV6
          ? {}
          : {
              Answer: [
                { type: 5, data: 'other.example.' },
                { type: 1, data: '10.0.0.7' },
              ],
            },
      );
    };
    expect(await addressesOf('example.com', 'https://dns.test/q', fetcher)).toEqual(['10.0.0.7']);
    expect(asked).toEqual([
      'https://dns.test/q?name=example.com&type=A',
      'https://dns.test/q?name=example.com&type=AAAA',
    ]);
    expect(await addressesOf('1.2.3.4', 'https://dns.test/q', fetcher)).toEqual(['1.2.3.4']);
    expect(await addressesOf('[2606:4700::1]', 'https://dns.test/q', fetcher)).toEqual(['2606:4700::1']);
  });
});
