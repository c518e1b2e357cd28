/** Links that show a finished picture to whoever has them, and what stops them. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { AccountObject } from '../../durable-objects/account.ts';
import type { JobObject } from '../../durable-objects/job.ts';
import { newJobId } from '../../src/account/job-id.ts';
import { newShareId, shareToken } from '../../src/account/share.ts';
import type { Receipt } from '../../src/billing/receipt.ts';
import { ADMIN_KEY, call, createJob, imageOf, KEY, openAccount, post, SMALL, watchAll } from './call.ts';

interface Share {
  readonly id: string;
  readonly url: string;
  readonly created_at: number;
  readonly expires_at: number;
}

const PROMPT = 'a red apple <script>alert("1")</script> & "more"';
const METADATA_USER = 'customer-of-mine';

const start = async (more: object = {}): Promise<string> => {
  const { id } = await createJob({ prompt: PROMPT, ...SMALL, preset: '7x', seed: 7, user: METADATA_USER, ...more });
  await watchAll(id);
  return id;
};
const share = async (id: string, body: object = {}): Promise<Share> => {
  const response = await post(`/v1/jobs/${id}/shares`, body);
  if (response.status !== 201) throw new Error(`not shared: ${response.status} ${await response.text()}`);
  return response.json();
};
const pathOf = ({ url }: Pick<Share, 'url'>): string => new URL(url).pathname;
const see = (path: string, init: RequestInit = {}) => call(path, { ...init, key: null });
const end = (id: string, name: string, key = KEY) => call(`/v1/jobs/${id}/shares/${name}`, { method: 'DELETE', key });
const objectOf = (id: string) => env.JOBS.getByName(id) as unknown as DurableObjectStub<JobObject>;

/** Every share of a job ended by the clock. */
const expire = (id: string): Promise<void> =>
  runInDurableObject(objectOf(id), (_, { storage }) => {
    storage.sql.exec('UPDATE share SET expires_at = ?', Date.now());
  });

/** What anybody hears whose link opens nothing, at every address of a share. */
async function expectNothing(path: string, headers: Record<string, string> = {}): Promise<string> {
  const pages = [];
  for (const below of ['', '/image.png', '/stages/1', '/stages/edges']) {
    const response = await see(path + below, { headers });
    expect([below, response.status, response.headers.get('content-type')]).toEqual([
      below,
      404,
      'text/html; charset=utf-8',
    ]);
    expect(response.headers.get('cache-control')).toBe('no-store');
    pages.push(await response.text());
  }
  expect(new Set(pages).size).toBe(1);
  return pages[0] as string;
}

let id: string;
beforeAll(async () => {
  id = await start();
});

describe('a share', () => {
  test('is made of a finished picture, listed, and ended', async () => {
    const before = Math.floor(Date.now() / 1000);
    const made = await share(id, { expires_in: 600 });
    expect(made).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{16}$/),
      url: expect.stringMatching(/^http:\/\/ralu\.test\/s\/[0-9a-z.]+$/),
      created_at: expect.any(Number),
      expires_at: made.created_at + 600,
    });
    expect(made.created_at).toBeGreaterThanOrEqual(before);
    expect(await (await call(`/v1/jobs/${id}/shares`)).json()).toEqual({ object: 'list', data: [made] });
    expect((await see(pathOf(made))).status).toBe(200);
    expect((await end(id, made.id)).status).toBe(204);
    expect(await (await call(`/v1/jobs/${id}/shares`)).json()).toEqual({ object: 'list', data: [] });
    const again = await end(id, made.id);
    expect([again.status, await again.json()]).toMatchObject([404, { code: 'share_not_found' }]);
  });

  test('ends with its picture at the latest, and lasts 30 days unless it is to be shorter', async () => {
    const job = await (await call(`/v1/jobs/${id}`)).json<{ expires_at: number }>();
    // pictures are kept for a day here
    const made = await share(id);
    expect(made.expires_at).toBe(job.expires_at);
    await end(id, made.id);
  });

  test('may be made again and again, up to 16 that open', async () => {
    const job = await start();
    const made = await Promise.all(Array.from({ length: 16 }, () => share(job)));
    expect(new Set(made.map(({ url }) => url)).size).toBe(16);
    const more = await post(`/v1/jobs/${job}/shares`, {});
    expect([more.status, await more.json()]).toMatchObject([
      409,
      { code: 'too_many_shares', detail: expect.stringContaining('has 16 links that open') },
    ]);
    await end(job, made[3]?.id as string);
    await share(job);
    // those that open no more make room
    await expire(job);
    const { id: last } = await share(job);
    const { data } = await (await call(`/v1/jobs/${job}/shares`)).json<{ data: Share[] }>();
    expect(data.map((one) => one.id)).toEqual([last]);
    const rows = await runInDurableObject(objectOf(job), (_, { storage }) =>
      storage.sql.exec('SELECT id FROM share').toArray(),
    );
    expect(rows).toEqual([{ id: last }]);
  });

  test('that is told twice is there once', async () => {
    const job = await start();
    const account = `acct_${KEY.slice(10, 26)}`;
    const asked = { id: newShareId(), ms: 60_000 };
    await runInDurableObject(objectOf(job), (instance) => {
      const [first, second] = [instance.share(account, asked), instance.share(account, { ...asked, ms: 90_000 })];
      expect(first).toMatchObject({ kind: 'shared', share: { id: asked.id } });
      expect(second).toEqual(first);
      expect(instance.shares(account)).toHaveLength(1);
    });
  });

  test.each([
    [{ expires_in: 59 }, 'expires_in'],
    [{ expires_in: 31_536_001 }, 'expires_in'],
    [{ expires_in: 60.5 }, 'expires_in'],
    [{ expires_in: '60' }, 'expires_in'],
    [{ days: 1 }, 'days'],
  ])('is not made of %o', async (body, field) => {
    const response = await post(`/v1/jobs/${id}/shares`, body);
    expect([response.status, await response.json()]).toMatchObject([
      400,
      { code: 'invalid_request', errors: [{ field }] },
    ]);
  });

  test('is not made of a job without a picture', async () => {
    const { id: open } = await createJob({ prompt: 'a fox', ...SMALL, N: [900], e: [1] });
    const early = await post(`/v1/jobs/${open}/shares`, {});
    expect([early.status, await early.json()]).toMatchObject([409, { code: 'image_not_ready' }]);
    await call(`/v1/jobs/${open}/cancel`, { method: 'POST' });
    const late = await post(`/v1/jobs/${open}/shares`, {});
    expect([late.status, await late.json()]).toMatchObject([
      409,
      { code: 'image_not_ready', detail: expect.stringContaining('cancelled') },
    ]);
  });

  test('costs no row where there is none', async () => {
    const tables = await runInDurableObject(objectOf(await start()), (_, { storage }) =>
      storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'share'").toArray(),
    );
    expect(tables).toEqual([]);
  });

  test('is written down with who made it and who ended it', async () => {
    const key = await openAccount();
    const job = await createJob({ prompt: 'a fox', ...SMALL, preset: '7x' }, key);
    await call(`/v1/jobs/${job.id}?wait=60`, { key });
    const made = await (await post(`/v1/jobs/${job.id}/shares`, {}, key)).json<Share>();
    await end(job.id, made.id, key);
    const { data } = await (await call('/v1/account/audit', { key })).json<{ data: Record<string, unknown>[] }>();
    const actor = `key:${key.slice(26, 34)}`;
    expect(data.slice(-2)).toMatchObject([
      { actor, act: 'share_asked', subject: job.id, detail: { share: made.id } },
      { actor, act: 'share_end_asked', subject: job.id, detail: { share: made.id } },
    ]);
    expect(JSON.stringify(data)).not.toContain(pathOf(made).split('.').at(-1));
  });
});

describe('who may share', () => {
  const keyWith = async (scopes: readonly string[]): Promise<string> =>
    (await (await post('/v1/account/keys', { name: 'k', scopes })).json<{ key: string }>()).key;

  test('is who may start jobs, of his own; and whoever rules the account', async () => {
    const [generate, read, admin] = (await Promise.all([['generate'], ['read'], ['admin']].map(keyWith))) as [
      string,
      string,
      string,
    ];
    const own = await createJob({ prompt: 'a fox', ...SMALL, preset: '7x' }, generate);
    await watchAll(own.id);
    const made = await (await post(`/v1/jobs/${own.id}/shares`, {}, generate)).json<Share>();
    expect((await post(`/v1/jobs/${id}/shares`, {}, generate)).status).toBe(403);
    expect((await post(`/v1/jobs/${own.id}/shares`, {}, read)).status).toBe(403);
    expect((await end(own.id, made.id, read)).status).toBe(403);
    expect((await call(`/v1/jobs/${own.id}/shares`, { key: generate })).status).toBe(403);
    expect((await call(`/v1/jobs/${own.id}/shares`, { key: read })).status).toBe(200);
    expect((await end(own.id, made.id, admin)).status).toBe(204);
    expect((await post(`/v1/jobs/${own.id}/shares`, {}, admin)).status).toBe(201);
  });

  test('is no other account: it finds no such job', async () => {
    const other = await openAccount();
    const made = await share(id);
    for (const response of [
      await post(`/v1/jobs/${id}/shares`, {}, other),
      await call(`/v1/jobs/${id}/shares`, { key: other }),
      await end(id, made.id, other),
    ])
      expect([response.status, await response.json()]).toMatchObject([404, { code: 'job_not_found' }]);
    expect((await see(pathOf(made))).status).toBe(200);
    await end(id, made.id);
  });

  test('of a job that is not there hears that it is not', async () => {
    const unknown = await newJobId(env.SIGNING_SECRET);
    for (const response of [
      await post(`/v1/jobs/${unknown}/shares`, {}),
      await call(`/v1/jobs/${unknown}/shares`),
      await end(unknown, newShareId()),
    ])
      expect([response.status, await response.json()]).toMatchObject([404, { code: 'job_not_found' }]);
    expect((await call(`/v1/jobs/${id}/shares`, { key: null })).status).toBe(401);
  });
});

test('a key makes at most 60 links a minute, since each is written down for good', async () => {
  const key = await openAccount();
  const path = `/v1/jobs/${await newJobId(env.SIGNING_SECRET)}/shares`;
  const statuses = [];
  for (let i = 0; i < 70; i++) statuses.push((await post(path, {}, key)).status);
  expect(new Set(statuses.slice(0, 60))).toEqual(new Set([404]));
  const refused = await post(path, {}, key);
  expect([refused.status, await refused.json()]).toMatchObject([
    429,
    { code: 'rate_limit', detail: expect.stringMatching(/^The key may ask for 60 shares a minute/) },
  ]);
});

describe('whoever has the link', () => {
  let path: string;
  let page: string;
  let response: Response;
  beforeAll(async () => {
    path = pathOf(await share(id));
    response = await see(path);
    page = await response.text();
  });

  test('sees picture, prompt and how it was made, and nothing of whose it is', async () => {
    const { receipt } = await (await call(`/v1/jobs/${id}`)).json<{ receipt: Receipt }>();
    const [first] = receipt.stages as [Receipt['stages'][number]];
    expect(response.status).toBe(200);
    for (const shown of [
      `src="${path}/image.png"`,
      'a red apple &lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &quot;more&quot;',
      `${receipt.tflops.ratio?.toFixed(1)}× less work than the plain model`,
      '<dd>7x</dd>',
      '<dd>7</dd>',
      '<dd>256 × 256</dd>',
      `${path}/stages/1`,
      `${first.tokens} tokens · ${first.steps} steps`,
      'Make your own',
    ])
      expect(page).toContain(shown);
    for (const hidden of ['<script', 'acct_', KEY.slice(10, 26), METADATA_USER, '$', 'usd', 'balance', 'webhook'])
      expect(page).not.toContain(hidden);
  });

  test('has what programs show of a link, with the address of the picture', async () => {
    const meta = new Map(
      [...page.matchAll(/<meta (?:name|property)="([^"]+)" content="([^"]*)">/g)].map(([, name, content]) => [
        name,
        content,
      ]),
    );
    expect(Object.fromEntries(meta)).toMatchObject({
      robots: 'noindex',
      'og:url': `http://ralu.test${path}`,
      'og:title': expect.stringContaining('a red apple'),
      'og:description': expect.stringMatching(
        /^Made in 3 stages, 10 steps: .* of denoising \(measured\), .*\(calculated\)\.$/,
      ),
      'og:image': `http://ralu.test${path}/image.png`,
      'og:image:type': 'image/png',
      'og:image:width': '256',
      'og:image:height': '256',
      'twitter:card': 'summary_large_image',
      'twitter:image': `http://ralu.test${path}/image.png`,
    });
  });

  test('gets pages that run nothing, keep nothing for long, and are told to no search engine', async () => {
    for (const below of ['', '/image.png', '/stages/1', '/stages/edges']) {
      const { headers } = await see(path + below);
      expect(headers.get('content-security-policy')).toBe(
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      );
      expect(headers.get('x-robots-tag')).toBe('noindex');
      expect(headers.get('referrer-policy')).toBe('no-referrer');
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      const seconds = /max-age=(\d+)/.exec(headers.get('cache-control') as string)?.[1];
      expect(seconds === undefined ? headers.get('cache-control') : Number(seconds)).toBe(
        seconds === undefined ? 'private, no-cache' : 60,
      );
    }
  });

  test('gets the very bytes of the picture, and its parts', async () => {
    const bytes = await (await see(`${path}/image.png`)).bytes();
    expect(Buffer.from(bytes).equals(await imageOf(id))).toBe(true);
    const part = await see(`${path}/image.png`, { headers: { range: 'bytes=0-9' } });
    expect([part.status, part.headers.get('content-disposition')]).toEqual([206, 'inline; filename="picture.png"']);
    expect((await see(`${path}/image.webp`)).status).toBe(404);
  });

  test('gets the pictures of the stages as their events had them', async () => {
    const events = await watchAll(id);
    for (const event of events) {
      if (event.type !== 'preview') continue;
      const picture = await see(`${path}/stages/${event.data.stage}`);
      expect([picture.status, picture.headers.get('content-type')]).toEqual([200, `image/${event.data.format}`]);
      expect(Buffer.from(await picture.bytes()).toString('base64')).toBe(event.data.b64_json);
    }
    const selection = events.find((event) => event.type === 'selection');
    for (const [name, data] of [
      ['edges', selection?.data.edges],
      ['blocks', selection?.data.blocks],
    ] as const)
      expect(Buffer.from(await (await see(`${path}/stages/${name}`)).bytes()).toString('base64')).toBe(data?.b64_json);
    for (const name of ['0', '3', '9', 'x']) expect((await see(`${path}/stages/${name}`)).status).toBe(404);
  });

  test('may ask by HEAD, and do nothing else', async () => {
    for (const below of ['', '/image.png', '/stages/1']) {
      const head = await see(path + below, { method: 'HEAD' });
      expect([head.status, await head.text()]).toEqual([200, '']);
      for (const method of ['POST', 'PUT', 'DELETE', 'PATCH'])
        expect((await see(path + below, { method })).status).toBe(405);
    }
  });

  test('of a plain picture sees its one stage', async () => {
    const plain = await createJob({ prompt: 'a fox', ...SMALL, preset: 'plain', seed: 1 });
    await watchAll(plain.id);
    const text = await (await see(pathOf(await share(plain.id)))).text();
    expect(text).toContain('Full resolution');
    expect(text).not.toContain('less work than');
    expect(text).not.toContain('Edges and blocks');
  });
});

describe('a link that opens nothing', () => {
  test('says the same whether it was forged, has ended, ran out or its job was erased', async () => {
    const job = await start();
    const made = await share(job);
    const path = pathOf(made);
    const other = await start();
    const [head, name, mac] = path.slice('/s/'.length).split('.') as [string, string, string];
    // bad tries are meant: an address of its own
    const headers = { 'cf-connecting-ip': '192.0.2.77' };
    const pages = [
      await expectNothing(`/s/${head}.${name}.${mac.replace(/^./, (digit) => (digit === '0' ? '1' : '0'))}`, headers),
      await expectNothing(`/s/${other.slice(4)}.${name}.${mac}`, headers),
      await expectNothing('/s/nonsense', headers),
      // signed, and never made
      await expectNothing(`/s/${await shareToken(env.SIGNING_SECRET, job, newShareId())}`),
    ];
    await end(job, made.id);
    pages.push(await expectNothing(path));
    const second = await share(job);
    await expire(job);
    pages.push(await expectNothing(pathOf(second)));
    const third = await share(job);
    expect((await see(pathOf(third))).status).toBe(200);
    expect((await call(`/v1/jobs/${job}`, { method: 'DELETE' })).status).toBe(204);
    pages.push(await expectNothing(pathOf(third)));
    expect(new Set(pages).size).toBe(1);
    expect(pages[0]).toContain('There is no picture here');
  });

  test('is a bad try of its address where it was forged, and holds up nobody whose link is good', async () => {
    const headers = { 'cf-connecting-ip': '192.0.2.78' };
    const statuses = [];
    for (let i = 0; i < 40; i++) statuses.push((await see('/s/nonsense', { headers })).status);
    expect(new Set(statuses)).toEqual(new Set([404, 429]));
    const refused = await see('/s/nonsense', { headers });
    expect([refused.status, refused.headers.get('content-type')]).toEqual([429, 'text/html; charset=utf-8']);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await refused.text()).toContain('Too many requests from this address');
    const made = await share(id);
    expect((await see(pathOf(made), { headers })).status).toBe(200);
    await end(id, made.id);
  });

  test('is forgotten with its job: a second life of the id has none of its shares', async () => {
    const job = await start();
    const { id: name } = await share(job);
    await call(`/v1/jobs/${job}`, { method: 'DELETE' });
    await runInDurableObject(objectOf(job), (instance, { storage }) => {
      expect(instance.shared(name)).toBeNull();
      expect(storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'share'").toArray()).toEqual([]);
    });
  });
});

describe('of an account that is suspended', () => {
  afterEach(() => {
    vi.useRealTimers();
  });
  /** After what an isolate remembers of an account. */
  const later = (ms: number) => vi.useFakeTimers({ now: Date.now() + ms, toFake: ['Date'] });
  const BELOW = ['', '/image.png', '/stages/1', '/stages/edges'];
  const statuses = (path: string) => Promise.all(BELOW.map(async (below) => (await see(path + below)).status));

  async function sharedBy(key: string): Promise<{ readonly job: string; readonly path: string }> {
    const job = await createJob({ prompt: 'a fox', ...SMALL, preset: '7x' }, key);
    await call(`/v1/jobs/${job.id}?wait=60`, { key });
    const made = await (await post(`/v1/jobs/${job.id}/shares`, {}, key)).json<Share>();
    return { job: job.id, path: pathOf(made) };
  }
  const accountOf = (key: string): string => `acct_${key.slice(10, 26)}`;
  const order = async (key: string, what: 'suspend' | 'resume'): Promise<void> => {
    const body = what === 'suspend' ? { running: 'finish' } : {};
    const answer = await post(`/v1/accounts/${accountOf(key)}/${what}`, body, ADMIN_KEY);
    expect([answer.status, what]).toEqual([200, what]);
  };

  test('every link is dark within 30 s, and says what one says that was never made; resumed, it opens again', async () => {
    const key = await openAccount();
    const { job, path } = await sharedBy(key);
    expect(await statuses(path)).toEqual([200, 200, 200, 200]);
    await order(key, 'suspend');
    later(30_000);
    const dark = await expectNothing(path);
    expect(dark).toBe(await expectNothing(`/s/${await shareToken(env.SIGNING_SECRET, job, newShareId())}`));
    // those of others open as before
    const fresh = await sharedBy(KEY);
    expect(await statuses(fresh.path)).toEqual([200, 200, 200, 200]);
    // its owner reads on, with the key and with the links that the job shows
    const view = await (await call(`/v1/jobs/${job}`, { key })).json<{ links: { image: string } }>();
    expect((await call(`/v1/jobs/${job}/image`, { key })).status).toBe(200);
    expect((await see(view.links.image)).status).toBe(200);
    await order(key, 'resume');
    later(30_000);
    expect(await statuses(path)).toEqual([200, 200, 200, 200]);
  });

  test('a link that nobody has opened is dark at once', async () => {
    const key = await openAccount();
    const { path } = await sharedBy(key);
    await order(key, 'suspend');
    await expectNothing(path);
  });

  test('those who look at once, each in a request of its own, ask its account once', async () => {
    const key = await openAccount();
    const shares = [await sharedBy(key), await sharedBy(key)];
    const account = env.ACCOUNTS.getByName(accountOf(key)) as unknown as DurableObjectStub<AccountObject>;
    let asked = 0;
    const spied = await runInDurableObject(account, (instance) => {
      const calls = Object.getPrototypeOf(instance) as AccountObject;
      const { view } = calls;
      return vi.spyOn(calls, 'view').mockImplementation(function (this: AccountObject) {
        asked++;
        return view.call(this);
      });
    });
    expect((await Promise.all(shares.map(({ path }) => statuses(path)))).flat()).toEqual(Array(8).fill(200));
    spied.mockRestore();
    expect(asked).toBe(1);
  });

  test('one whose account does not answer shows nothing: 503, and no longer than its limit', async () => {
    const key = await openAccount();
    const { path } = await sharedBy(key);
    const account = env.ACCOUNTS.getByName(accountOf(key)) as unknown as DurableObjectStub<AccountObject>;
    let isHeld = false;
    const held = runInDurableObject(account, (_, state) =>
      state.blockConcurrencyWhile(async () => {
        isHeld = true;
        await new Promise((resolve) => setTimeout(resolve, 7_000));
      }),
    );
    await expect.poll(() => isHeld).toBe(true);
    const since = performance.now();
    expect(await statuses(path)).toEqual([503, 503, 503, 503]);
    expect(performance.now() - since).toBeLessThan(6_500);
    await held;
    expect(await statuses(path)).toEqual([200, 200, 200, 200]);
  });
});
