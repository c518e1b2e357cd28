/** `/s/{token}`: a shared picture for whoever has its link, as a page and by itself. No key, and nothing to send. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import { readShareToken } from '../../account/share.ts';
import { fromBase64 } from '../../job/base64.ts';
import { prefixOf } from '../../job/links.ts';
import type { JobCalls, Remote } from '../../job/rpc.ts';
import type { SharedPicture } from '../../job/share.ts';
import { within } from '../../stage/time-limit.ts';
import { callJob, callObject } from '../call-object.ts';
import type { AppEnv } from '../env.ts';
import { secretsOf, takeTry } from '../gate.ts';
import { Problem } from '../problem.ts';
import { publicBase } from '../public-address.ts';
import { sendImage } from '../send-image.ts';
import { sharedPage, troublePage } from './page.ts';

/** Of every answer here, whatever it is: it runs nothing, loads from here alone, and is not found by search engines. */
const HEADERS = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'x-robots-tag': 'noindex',
} as const;

const prefixHere = (c: Context<AppEnv>): string => prefixOf(publicBase(c.env, c.req.url));

/**
 * What every link says that opens nothing: a wrong one, one that has ended, one whose picture was erased, or whose
 * account is suspended.
 */
const NOTHING = {
  title: 'There is no picture here',
  sentence: 'The link is not right, it has ended, or its picture is not shown any more.',
} as const;

/** Every answer behind it is for people: refusals are pages, and there is one for all that is not there. */
const speakPages = createMiddleware<AppEnv>(async function speakPages(c, next) {
  const prefix = prefixHere(c);
  c.set('render', ({ fields: { status, detail, headers } }) => {
    const { title, sentence } = status === 404 ? NOTHING : { title: 'Not now', sentence: detail };
    const type = { 'content-type': 'text/html; charset=utf-8' };
    return new Response(troublePage(prefix, title, sentence), { status, headers: { ...headers, ...type } });
  });
  await next();
  for (const [name, value] of Object.entries(HEADERS)) c.res.headers.set(name, value);
});

const nothing = (): Problem => new Problem({ status: 404, code: 'share_not_found', detail: NOTHING.sentence });

/** The job and the share that the address names. Throws a 404 Problem for an invented one, which is a bad try. */
async function shareOf(c: Context<AppEnv>): Promise<{ readonly job: string; readonly share: string }> {
  const read = await readShareToken(secretsOf(c.env), c.req.param('token') ?? '');
  if (read) return read;
  takeTry(c);
  throw nothing();
}

/** Longest wait for whose a job is, and for what its account says. */
const OWNER_MS = 5_000;

/**
 * What the object of a job shows, or null while its account is suspended. Both are asked at once, and of a job that is
 * gone an account that nobody has: how long a 404 takes does not tell whether its picture is only dark. Rejects where
 * the account does not answer, so nothing is shown then.
 */
async function unlessDark<T>(
  c: Context<AppEnv>,
  job: string,
  ask: (stub: Remote<JobCalls>) => Promise<T | null>,
): Promise<T | null> {
  const owner = async (): Promise<string> => (await callJob(c.env, job, (stub) => stub.owner())) ?? job;
  const isSuspended = (account: string): Promise<boolean> =>
    callObject(c.env.ACCOUNTS, account, async (stub) => ((await stub.view())?.suspendedAt ?? null) !== null);
  const [shown, isDark] = await Promise.all([
    callJob(c.env, job, ask),
    within(OWNER_MS, 'the account', c.var.gate.suspensions.of(job, { owner, isSuspended })),
  ]);
  return isDark ? null : shown;
}

/** The picture of a stage, or an overlay of the first; null where nothing has that name. */
function pictureNamed(name: string): SharedPicture | null {
  if (name === 'edges' || name === 'blocks') return name;
  return /^[1-8]$/.test(name) ? Number(name) : null;
}

export function routeSharedPages(app: OpenAPIHono<AppEnv>): void {
  app.get('/s/:token', speakPages, async (c) => {
    const { job, share } = await shareOf(c);
    const shared = await unlessDark(c, job, (stub) => stub.shared(share));
    if (!shared) throw nothing();
    const page = `${publicBase(c.env, c.req.url)}/s/${c.req.param('token')}`;
    return c.html(sharedPage(shared, { prefix: prefixHere(c), page }), 200, { 'cache-control': 'private, no-cache' });
  });

  app.get('/s/:token/:file{image\\.(?:png|webp|jpeg|jpg)}', speakPages, async (c) => {
    const { job, share } = await shareOf(c);
    const format = await unlessDark(c, job, (stub) => stub.sharedFormat(share));
    const ending = c.req.param('file').slice('image.'.length);
    if (format === null || (ending === 'jpg' ? 'jpeg' : ending) !== format) throw nothing();
    return sendImage(c, { id: job, format, name: 'picture' });
  });

  app.get('/s/:token/stages/:name', speakPages, async (c) => {
    const { job, share } = await shareOf(c);
    const name = pictureNamed(c.req.param('name'));
    const picture = name === null ? null : await unlessDark(c, job, (stub) => stub.sharedPicture(share, name));
    if (!picture) throw nothing();
    const { format, b64_json } = picture;
    // a minute: as long as it may still be seen where the share has ended
    return c.body(fromBase64(b64_json), 200, {
      'content-type': `image/${format}`,
      'cache-control': 'private, max-age=60',
    });
  });
}
