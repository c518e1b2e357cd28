import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { webhookSecret } from '../../src/account/webhook-secret.ts';
import {
  addressesOf,
  afterTry,
  bflSignature,
  isPrivateAddress,
  refuseWebhookUrl,
  type Webhook,
  webhookHeaders,
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

test('a secret of the caller’s own is kept for the next try, and for nothing after the last', () => {
  const webhook: Webhook = { ...WAITING, door: 'bfl', secret: 'hippopotamus' };
  expect(afterTry(webhook, 500).webhook.secret).toBe('hippopotamus');
  for (const status of [204, 410]) expect(afterTry(webhook, status).webhook).not.toHaveProperty('secret');
  expect(afterTry({ ...webhook, tries: 100 }, 500).webhook).not.toHaveProperty('secret');
});

test('a secret of the caller’s own signs the body alone: HMAC-SHA-256 in hex', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ minLength: 1 }), fc.string({ unit: 'grapheme' }), async (secret, body) => {
      const expected = createHmac('sha256', secret).update(body).digest('hex');
      expect(await bflSignature(secret, body)).toEqual({ 'x-bfl-signature': `sha256=${expected}` });
    }),
  );
});

test('the signature is the specification’s: HMAC-SHA-256 of id.timestamp.body under the decoded secret', async () => {
  const signing = { current: 'signing', previous: null };
  const [next, secret] = await Promise.all(
    [1, 0].map((generation) => webhookSecret(signing, 'acct_1', { generation, isUnderived: false })),
  );
  const headers = webhookHeaders([next, secret] as string[], 'job_1', 1_700_000_000, '{"a":1}');
  const [first, second] = ([next, secret] as string[]).map((each) =>
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

/**
 * IANA's special-purpose registries, whole, with multicast, site-local addresses and blocks that nobody has. Source:
 * https://www.iana.org/assignments/iana-ipv4-special-registry and …/iana-ipv6-special-registry.
 */
const SPECIAL_V4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.0.0/29',
  '192.0.0.8/32',
  '192.0.0.9/32',
  '192.0.0.10/32',
  '192.0.0.170/32',
  '192.0.0.171/32',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '255.255.255.255/32',
];
const SPECIAL_V6 = [
  '::/128',
  '::1/128',
  '::ffff:0:0/96',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '100:0:0:1::/64',
  '2001::/23',
  '2001::/32',
  '2001:1::1/128',
  '2001:1::2/128',
  '2001:1::3/128',
  '2001:2::/48',
  '2001:3::/32',
  '2001:4:112::/48',
  '2001:10::/28',
  '2001:20::/28',
  '2001:30::/28',
  '2001:db8::/32',
  '2002::/16',
  '2620:4f:8000::/48',
  '3fff::/20',
  '5f00::/16',
  'fc00::/7',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
  '4000::/3',
  'e000::/4',
];

/** First and last address of a block, as numbers. */
function endsOf(block: string): readonly [bigint, bigint] {
  const [address = '', length = ''] = block.split('/');
  const bits = address.includes(':') ? 128 : 32;
  const first = toNumber(address);
  return [first, first + (1n << BigInt(bits - Number(length))) - 1n];
}

function toNumber(address: string): bigint {
  if (!address.includes(':')) return address.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n);
  const [head = '', tail = ''] = address.split('::').map((side) => side.split(':').filter((part) => part !== ''));
  const parts = [...head, ...Array<string>(8 - head.length - tail.length).fill('0'), ...tail];
  return parts.reduce((sum, part) => sum * 65_536n + BigInt(`0x${part}`), 0n);
}

const v4 = (value: bigint): string => [24n, 16n, 8n, 0n].map((by) => String((value >> by) & 255n)).join('.');
const v6 = (value: bigint): string =>
  Array.from({ length: 8 }, (_, i) => ((value >> BigInt(16 * (7 - i))) & 0xffffn).toString(16)).join(':');

describe('no private addresses', () => {
  test.each(SPECIAL_V4)('%s, from its first to its last', (block) => {
    const [first, last] = endsOf(block);
    for (const value of [first, (first + last) / 2n, last]) expect(isPrivateAddress(v4(value)), v4(value)).toBe(true);
  });
  test.each(SPECIAL_V6)('%s, from its first to its last', (block) => {
    const [first, last] = endsOf(block);
    for (const value of [first, (first + last) / 2n, last]) {
      expect(isPrivateAddress(v6(value)), v6(value)).toBe(true);
      expect(refuseWebhookUrl(`https://[${v6(value)}]/`, false)).toContain('private network');
    }
  });
  test.each(['', 'nonsense', '1.2.3', '1.2.3.4.5', '010.0.0.1', '1', '2606:4700::1%eth0', '::ffff:8.8.8.8'])(
    'what is no plain address passes for none: %s',
    (text) => {
      expect(isPrivateAddress(text)).toBe(true);
    },
  );
  test.each([
    '1.1.1.1',
    '9.255.255.255',
    '11.0.0.0',
    '172.15.255.255',
    '172.32.0.1',
    '100.63.255.255',
    '100.128.0.1',
    '192.0.1.0',
    '192.88.98.255',
    '192.167.255.255',
    '198.17.255.255',
    '223.255.255.255',
    '2000::1',
    '2001:200::1',
    '2003::1',
    '2606:4700:4700::1111',
    '2001:4860:4860::8888',
    '3ffe:ffff::1',
    '3fff:1000::1',
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
    const fetcher = async (url: string, { redirect }: RequestInit): Promise<Response> => {
      asked.push(`${redirect} ${url}`);
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
    const where = (host: string) => addressesOf(host, 'https://dns.test/q', fetcher, new AbortController().signal);
    expect(await where('example.com')).toEqual(['10.0.0.7']);
    expect(asked).toEqual([
      'manual https://dns.test/q?name=example.com&type=A',
      'manual https://dns.test/q?name=example.com&type=AAAA',
    ]);
    expect(await where('1.2.3.4')).toEqual(['1.2.3.4']);
    expect(await where('[2606:4700::1]')).toEqual(['2606:4700::1']);
  });

  test.each([
    ['more bytes than an answer has', () => new Response('1'.repeat(70_000))],
    ['more addresses than a name has', () => Response.json({ Answer: Array(300).fill({ type: 1, data: '1.1.1.1' }) })],
    ['a redirect', () => Response.redirect('https://elsewhere.test/', 302)],
    ['text', () => new Response('no')],
  ])('a resolver that answers %s leads nowhere', async (_, answer) => {
    const asked = addressesOf('a.test', 'https://dns.test/q', async () => answer(), new AbortController().signal);
    await expect(asked).rejects.toThrow();
  });
});
