/** Where answers say this service is, and what no answer and no log line may give away. */
import { env, exports } from 'cloudflare:workers';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { configurationFault } from '../../src/http/configuration.ts';
import { publicBase, refusePublicUrl, routePath } from '../../src/http/public-address.ts';
import type { JobView } from '../../src/job/job.ts';
import { logLine } from '../../src/job/log.ts';
import { ADMIN_KEY, call, createJob, KEY, openAccount, post, SMALL, watchAll } from './call.ts';

const BASE = 'https://pictures.example/api/ralu';
const APPLE = { prompt: 'a red apple', ...SMALL, seed: 7 };
const changeable = env as unknown as Record<string, string>;
const { SIGNING_SECRET } = env;

afterEach(() => {
  changeable.PUBLIC_URL = '';
  changeable.SIGNING_SECRET = SIGNING_SECRET;
  changeable.SIGNING_SECRET_PREVIOUS = '';
  changeable.ADMIN_KEY = ADMIN_KEY;
});

/** A request that says it came to another host. */
function forged(path: string, body?: object, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
  return exports.default.fetch(
    new Request(`https://evil.test${path}`, {
      headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json', ...headers },
      ...(body && { method: 'POST', body: JSON.stringify(body) }),
    }),
  );
}

describe('a public address with a path', () => {
  test('begins every address of every door, whatever host the request names', async () => {
    changeable.PUBLIC_URL = `${BASE}/`;
    const created = await forged('/api/ralu/v1/jobs', APPLE);
    expect(created.status).toBe(202);
    const { id } = await created.clone().json<{ id: string }>();
    expect(created.headers.get('location')).toBe(`/api/ralu/v1/jobs/${id}`);
    await watchAll(id);

    const answers = {
      job: await (await forged(`/api/ralu/v1/jobs/${id}`)).text(),
      list: await (await forged('/api/ralu/v1/jobs')).text(),
      prediction: await (await forged(`/api/ralu/v1/predictions/${id}`)).text(),
      predictions: await (await forged('/api/ralu/v1/predictions')).text(),
      status: await (await forged(`/api/ralu/fal/queue/ralu/x/requests/${id}/status`)).text(),
      result: await (await forged(`/api/ralu/fal/queue/ralu/x/requests/${id}`)).text(),
      images: await (
        await forged('/api/ralu/v1/images/generations', {
          prompt: 'a red apple',
          size: '256x256',
          response_format: 'url',
        })
      ).text(),
      stream: await (await forged(`/api/ralu/v1/predictions/${id}/stream`)).text(),
      document: await (await forged('/api/ralu/openapi.json')).text(),
      share: await (await forged(`/api/ralu/v1/jobs/${id}/shares`, {})).text(),
    };
    for (const [name, text] of Object.entries(answers)) expect(text, name).not.toContain('evil.test');

    const { url: link } = JSON.parse(answers.share);
    expect(link.startsWith(`${BASE}/s/`)).toBe(true);
    const shared = await (await forged(new URL(link).pathname)).text();
    expect(shared).not.toContain('evil.test');
    // what it names lies below the path, and what others fetch has the whole address
    const named = [...shared.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, target]) => target as string);
    expect(named.filter((target) => !target.startsWith('/api/ralu/'))).toEqual([]);
    expect(shared).toContain(`<meta property="og:image" content="${link}/image.png">`);

    const job = JSON.parse(answers.job);
    const below = `/api/ralu/v1/jobs/${id}`;
    expect(job.urls).toEqual({
      get: below,
      events: `${below}/events`,
      image: `${below}/image`,
      thumbnail: `${below}/thumbnail`,
      cancel: `${below}/cancel`,
    });
    expect(job.links.image).toContain(`${below}/image.png?token=`);
    expect(job.links.events).toContain(`${below}/events?token=`);
    expect(job.links.thumbnail).toContain(`${below}/thumbnail?token=`);
    expect(job.image.url).toBe(`${below}/image`);
    expect(JSON.parse(answers.list).data[0].links.image).toContain('/api/ralu/v1/jobs/');
    const { urls, output } = JSON.parse(answers.prediction);
    expect(urls).toMatchObject({ get: `${BASE}/v1/predictions/${id}`, cancel: `${BASE}/v1/predictions/${id}/cancel` });
    expect(output[0]).toContain(`${BASE}/v1/jobs/${id}/image.png?token=`);
    expect(JSON.parse(answers.status)).toMatchObject({
      response_url: `${BASE}/fal/queue/ralu/x/requests/${id}`,
      cancel_url: `${BASE}/fal/queue/ralu/x/requests/${id}/cancel`,
    });
    expect(JSON.parse(answers.result).images[0].url).toContain(`${BASE}/v1/jobs/${id}/image.png?token=`);
    const [{ url }] = JSON.parse(answers.images).data;
    expect(url).toContain(`${BASE}/v1/jobs/job_`);
    expect(answers.stream).toContain(`data: ${BASE}/v1/jobs/${id}/image.png?token=`);
    expect(JSON.parse(answers.document).servers).toEqual([{ url: '/api/ralu' }]);

    // the links open, with the path and where a proxy has taken it away
    for (const link of [
      job.links.image,
      job.links.image.replace('/api/ralu', ''),
      new URL(url).pathname + new URL(url).search,
    ]) {
      const picture = await call(link, { key: null });
      expect([link, picture.status]).toEqual([link, 200]);
      await picture.body?.cancel();
    }
  });

  test('is no other path', async () => {
    changeable.PUBLIC_URL = BASE;
    for (const path of ['/api/v1/models', '/api/ralux/v1/models', '/v1/api/ralu/models'])
      expect((await forged(path)).status, path).toBe(404);
    expect((await forged('/api/ralu')).status).toBe(404);
    for (const path of ['/api/ralu/v1/models', '/v1/models']) expect((await forged(path)).status, path).toBe(200);
  });

  test('is the request’s own where the deployment says none', () => {
    expect(publicBase({ PUBLIC_URL: '' }, 'http://127.0.0.1:8787/v1/jobs?x')).toBe('http://127.0.0.1:8787');
    expect(publicBase({ PUBLIC_URL: 'https://a.example' }, 'http://b.example/')).toBe('https://a.example');
    expect(routePath(new Request('http://a.test/v1/jobs'), undefined)).toBe('/v1/jobs');
    expect(routePath(new Request('http://a.test/x'), 'https://a.test/x/')).toBe('/');
  });

  test.each(['nonsense', 'ftp://a.test', 'https://u:p@a.test/', 'https://a.test/?x=1', 'https://a.test/#x'])(
    '%s is refused by name',
    async (text) => {
      expect(refusePublicUrl(text)).toMatch(/^must /);
      changeable.PUBLIC_URL = text;
      const response = await call('/v1/models');
      expect(response.status).toBe(503);
      expect(await response.json()).toMatchObject({
        error: { code: 'not_configured', message: expect.stringContaining('PUBLIC_URL') },
      });
    },
  );
});

describe('a secret under 32 bytes', () => {
  const SHORT = 'a'.repeat(31);

  test.each(['SIGNING_SECRET', 'SIGNING_SECRET_PREVIOUS', 'ADMIN_KEY'] as const)(
    '%s is refused at every door, by name',
    async (name) => {
      changeable[name] = SHORT;
      for (const [path, key] of [
        ['/v1/jobs', KEY],
        ['/v1/account', KEY],
        ['/v1/accounts', SHORT],
        [`/v1/jobs/job_${'0'.repeat(32)}/image?token=1.a`, null],
        ['/v1/images/generations', KEY],
        ['/fal/queue/ralu/x', KEY],
      ] as const) {
        const response = await call(path, { method: path.includes('image?') ? 'GET' : 'POST', key });
        expect([path, response.status]).toEqual([path, 503]);
        const text = await response.text();
        expect(text).toContain(`The secret ${name} of this deployment is too short: it needs 32 bytes.`);
        expect(text).not.toContain(SHORT);
      }
      const images = await call('/v1/images/generations', { method: 'POST' });
      expect(await images.json()).toMatchObject({ error: { code: 'not_configured' } });
      expect((await call('/healthz', { key: null })).status).toBe(200);
    },
  );

  test('counts as bytes, not as characters', () => {
    const of = (secret: string) =>
      configurationFault({
        SIGNING_SECRET: secret,
        ADMIN_KEY: '',
        PUBLIC_URL: '',
        OLD_KEYS_UNTIL: '',
        TARIFF: '',
        EVENTS_URL: '',
        STRIPE_API_URL: '',
      });
    expect(of('é'.repeat(16))).toBeNull();
    expect(of('é'.repeat(15))).toContain('SIGNING_SECRET');
  });
});

describe('every answer', () => {
  test('is no other type than it says, and is kept only where its route allows it', async () => {
    const { id } = await createJob(APPLE);
    await watchAll(id);
    const answers: Readonly<Record<string, Response>> = {
      health: await call('/healthz', { key: null }),
      document: await call('/openapi.json', { key: null }),
      nothing: await call('/nothing', { key: null }),
      'wrong method': await call('/v1/jobs', { method: 'PATCH' }),
      preflight: await call('/v1/jobs', { method: 'OPTIONS', key: null, headers: { origin: 'https://a.test' } }),
      'no key': await call('/v1/jobs', { key: null }),
      refused: await post('/v1/jobs', { prompt: '' }),
      head: await call('/v1/jobs', { method: 'HEAD' }),
      job: await call(`/v1/jobs/${id}`),
      list: await call('/v1/jobs'),
      models: await call('/v1/models'),
      prediction: await call(`/v1/predictions/${id}`),
      fal: await call(`/fal/queue/ralu/x/requests/${id}`),
      'webhook secret': await call('/v1/webhooks/default/secret'),
      'new webhook secret': await call('/v1/webhooks/default/secret', { method: 'POST' }),
      account: await post('/v1/accounts', { name: 'a' }, ADMIN_KEY),
      events: await call(`/v1/jobs/${id}/events`),
      stream: await call(`/v1/predictions/${id}/stream`),
      image: await call(`/v1/jobs/${id}/image`),
    };
    for (const [name, { headers }] of Object.entries(answers)) {
      expect([name, headers.get('x-content-type-options')]).toEqual([name, 'nosniff']);
      const kept = headers.get('cache-control') ?? '';
      if (name === 'image') expect(kept).toContain('private');
      else expect([name, kept]).toEqual([name, expect.stringContaining('no-store')]);
    }
    await Promise.all(Object.values(answers).map(({ body }) => body?.cancel()));
  });
});

describe('no answer', () => {
  test('tells a time by which one account learns what another has asked', async () => {
    const [one, other] = [await openAccount(), await openAccount()];
    const body = { ...APPLE, seed: 20, N: [3, 4, 6], e: [0.21, 0.33, 1], r: 0.1 };
    const quote = async (key: string) => {
      const answer = await (await post('/v1/jobs/quote', body, key)).json<Record<string, unknown>>();
      return { ...answer, queue: null };
    };
    // the first is fitted, the second remembered
    expect(await quote(other)).toEqual(await quote(one));
    const { id } = await createJob(body, one);
    const answers = [
      await call(`/v1/jobs/${id}?wait=30`, { key: one }),
      await call(`/v1/jobs/${id}/events`, { key: one }),
      await call('/v1/jobs', { key: one }),
      await call(`/v1/predictions/${id}`, { key: one }),
      await call(`/fal/queue/ralu/x/requests/${id}`, { key: one }),
      await post('/v1/images/generations', { prompt: 'a red apple', size: '256x256', stream: true }, one),
      await post('/v1/jobs/quote', body, one),
    ];
    for (const answer of answers) {
      expect(answer.ok).toBe(true);
      expect(await answer.text()).not.toMatch(/text_ms|fit_ms/);
    }
    const { receipt } = await (await call(`/v1/jobs/${id}`, { key: one })).json<JobView>();
    const { wall_ms, stages } = receipt as NonNullable<JobView['receipt']>;
    // nor is it what the other times leave
    const told = stages.reduce((sum, stage) => sum + stage.compute_ms + stage.decode_ms + stage.encode_ms, 0);
    expect(wall_ms.orchestration).toBeCloseTo(Math.max(0, wall_ms.total - told), 6);
  });
});

describe('no log line', () => {
  test('holds the token of a link, whatever an error quotes', () => {
    const lines: string[] = [];
    vi.spyOn(console, 'log').mockImplementation((line: string) => lines.push(line));
    try {
      logLine('request_failed', {
        path: '/v1/jobs/:id/image',
        error: 'GET https://a.test/x?a=1&token=17.abc&b="2" broke',
      });
      logLine('request_failed', { error: `GET https://a.test/s/2noan${'0'.repeat(44)}.0a.1b/image.png broke` });
    } finally {
      vi.restoreAllMocks();
    }
    expect(lines).toEqual([
      '{"event":"request_failed","path":"/v1/jobs/:id/image","error":"GET https://a.test/x?a=1&token=…&b=\\"2\\" broke"}',
      '{"event":"request_failed","error":"GET https://a.test/s/…/image.png broke"}',
    ]);
  });

  test('of a request that fails here names its address’s token', async () => {
    const { id } = await createJob(APPLE);
    await watchAll(id);
    const { links } = await (await call(`/v1/jobs/${id}`)).json<{ links: { image: string; events: string } }>();
    const token = new URL(links.image, 'http://a.test').searchParams.get('token') as string;
    const bucket = env.IMAGES;
    const lines: string[] = [];
    vi.spyOn(console, 'log').mockImplementation((line: string) => lines.push(line));
    try {
      Object.defineProperty(env, 'IMAGES', {
        configurable: true,
        get: () => {
          throw new Error(`no bucket for http://ralu.test${links.image}`);
        },
      });
      expect((await call(links.image, { key: null })).status).toBe(500);
    } finally {
      Object.defineProperty(env, 'IMAGES', { configurable: true, value: bucket });
      vi.restoreAllMocks();
    }
    const failed = lines.filter((line) => line.includes('request_failed'));
    expect(failed).toHaveLength(1);
    expect(failed[0]).toContain('token=…');
    expect(lines.join()).not.toContain(token);
  });
});
