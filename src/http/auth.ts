/** Who may come in: holders of an account's key, of a signed link, of the deployment's admin key. */
import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import { timingSafeEqual } from 'hono/utils/buffer';
import type { Actor } from '../account/account.ts';
import { type ReadKey, readKey } from '../account/key.ts';
import { checkLink, type Opens } from '../account/link.ts';
import type { Scope } from '../account/scopes.ts';
import { type KeyRefusal, READ_AGE_MS, refuseKey, type Standing } from '../account/standing.ts';
import { within } from '../stage/time-limit.ts';
import { callObject } from './call-object.ts';
import type { AppEnv, Caller } from './env.ts';
import { giveBackTry, notConfigured, secretsOf, takeRead, takesOldForms, takeTry } from './gate.ts';
import { knownJobId } from './job-id.ts';
import { lackedScope, type Need, needOf, readOf, startsJobs } from './needs.ts';
import { Problem } from './problem.ts';

/** A 401. */
export const refuse = (detail: string): Problem =>
  new Problem({ status: 401, code: 'unauthorized', detail, headers: { 'www-authenticate': 'Bearer' } });
const SEND_KEY = 'Send the key as "Authorization: Bearer KEY".';

/** Longest wait for what an account says of a key. */
const ACCOUNT_MS = 10_000;

/** The key in the header that every door takes; fal's clients say `Key`, Replicate's older ones `Token`. */
const bearer = (c: Context<AppEnv>): string | undefined =>
  /^(?:Bearer|Key|Token) +(\S+)$/i.exec(c.req.header('authorization') ?? '')?.[1];

/** The key of a request. */
const keyText = (c: Context<AppEnv>): string | undefined => (c.get('readKey') ?? bearer)(c);

/**
 * Lets the clients of a door send the key in a header of its own, bare, as well as in `Authorization`. A request with
 * two keys that differ is refused: whatever stands before us may look at one only.
 */
export const readKeyFrom = (header: string) =>
  createMiddleware<AppEnv>(async function readKeyHere(c, next) {
    c.set('readKey', (request) => {
      const [own, common] = [request.req.header(header)?.trim() || undefined, bearer(request)];
      if (own !== undefined && common !== undefined && own !== common)
        throw refuse(`The request has two keys: send one, as "${header}: KEY".`);
      return own ?? common;
    });
    await next();
  });

/** Lets the clients of a door send the key as the password of basic authentication, under any name. */
export const readKeyFromBasic = createMiddleware<AppEnv>(async function readKeyFromBasic(c, next) {
  c.set('readKey', (request) => {
    const credentials = /^Basic +([\w+/]+={0,2})$/i.exec(request.req.header('authorization') ?? '')?.[1];
    return credentials === undefined ? bearer(request) : passwordIn(credentials);
  });
  await next();
});

/** The password of basic credentials; undefined where they are none. */
function passwordIn(credentials: string): string | undefined {
  try {
    return /^[^:]*:(\S+)$/.exec(atob(credentials))?.[1];
  } catch {
    return undefined;
  }
}

/** What the holder of a key hears that does not open. */
export const KEY_FAULTS: Readonly<Record<KeyRefusal, string>> = {
  unknown: 'The key is not valid.',
  revoked: 'The key was revoked.',
  expired: 'The key has expired.',
};

/** Counts a bad try, and the refusal to throw. */
function refuseTry(c: Context<AppEnv>, detail: string): Problem {
  takeTry(c);
  return refuse(detail);
}

/** How a key stands, as its account said at most `maxAgeMs` ago. */
const standingOf = (c: Context<AppEnv>, key: Pick<ReadKey, 'account' | 'id'>, maxAgeMs: number) =>
  c.var.gate.standings.of(key, maxAgeMs, () =>
    within(
      ACCOUNT_MS,
      'the account',
      callObject(c.env.ACCOUNTS, key.account, (account) => account.standing(key.id)),
    ),
  );

/**
 * The key of the request. It is ours, or, being one of the first form, may be: then `isDoubtful` until its account is
 * known to have it, and no object is touched for it but for a try. Throws a 401 Problem, or a 429 where an address
 * tries too often.
 */
async function keyOf(c: Context<AppEnv>): Promise<{ readonly key: ReadKey; readonly isDoubtful: boolean }> {
  const secrets = secretsOf(c.env);
  const text = keyText(c);
  if (!text) throw refuse(SEND_KEY);
  const key = await readKey(secrets, text);
  if (!key) throw refuseTry(c, KEY_FAULTS.unknown);
  if (!key.isSigned && !takesOldForms(c.env, Date.now()))
    throw refuseTry(c, 'Keys of this form are not taken any more; ask whoever gave it to you for a new one.');
  return { key, isDoubtful: !key.isSigned && !c.var.gate.standings.knows(key) };
}

/** How the key stands, as its account said at most `maxAgeMs` ago. Throws as `keyOf` does where it does not open. */
async function openWithKey(
  c: Context<AppEnv>,
  { key, isDoubtful }: Awaited<ReturnType<typeof keyOf>>,
  maxAgeMs: number,
): Promise<Standing> {
  if (isDoubtful) takeTry(c);
  const standing = await standingOf(c, key, maxAgeMs);
  const refusal = refuseKey(standing, key, Date.now());
  if (standing && refusal === null) {
    if (isDoubtful) giveBackTry(c);
    return standing;
  }
  if (!isDoubtful) takeTry(c);
  throw refuse(KEY_FAULTS[refusal ?? 'unknown']);
}

/** Whether the job or key that the route is about is the caller's own. */
async function isOwn(c: Context<AppEnv>, need: Need, { account, id }: ReadKey): Promise<boolean> {
  if (need === 'own_key') return c.req.param('key') === id;
  const job = await knownJobId(c, c.req.param('id') ?? '');
  // of a job that the account does not have the route says that it is not there
  if (job === null) return true;
  return (await callObject(c.env.ACCOUNTS, account, (stub) => stub.isOwnJob(id, job))) ?? true;
}

/**
 * Whose key the request came with, where the key may do what the route does. On a route that starts jobs a key that
 * proves itself is let through unasked: its account judges it in the call that enters the jobs. Throws a 401 Problem,
 * or a 403 that names the scope that is missing; without a signing secret nobody gets in.
 */
async function callerOf(c: Context<AppEnv>): Promise<Caller> {
  const { method, routePath } = c.req;
  const need = needOf(method, routePath);
  const read = await keyOf(c);
  const { account, id: keyId, place, hashes: keyHashes } = read.key;
  const caller = { account, keyId, keyHashes, jurisdiction: place.jurisdiction };
  const isKnown = c.var.gate.standings.kept(read.key, READ_AGE_MS) !== undefined;
  const isJudged = isKnown || !read.key.isSigned || !startsJobs(method, routePath);
  if (isJudged) await judge(c, need, read);
  c.set('isKeyJudged', isJudged);
  const kind = readOf(method, routePath);
  if (kind !== null) takeRead(c, kind, `${account}.${keyId}`);
  c.set('caller', caller);
  c.set('actor', `key:${keyId}`);
  return caller;
}

/** Whether the key opens and may do what the route does, as its account says. Throws a 401, 403 or 429 Problem. */
async function judge(c: Context<AppEnv>, need: Need, read: Awaited<ReturnType<typeof keyOf>>): Promise<void> {
  if (need === 'deployment' || need === 'metrics') throw new Error('a route for the admin key asked for another');
  // a start is decided by the account itself, once more and in the call that it takes anyway
  const isRead = need === 'generate' || c.req.method === 'GET' || c.req.method === 'HEAD';
  const { scopes } = await openWithKey(c, read, isRead ? READ_AGE_MS : 0);
  const asksWhose = (need === 'own_job' || need === 'own_key') && !scopes.includes('admin');
  const lacked = lackedScope(need, scopes, asksWhose && (await isOwn(c, need, read.key)));
  if (lacked !== null) throw lacks(lacked);
}

/** A 403 that names the scope. */
export const lacks = (scope: Scope): Problem =>
  new Problem({
    status: 403,
    code: 'insufficient_scope',
    detail: `The key may not do this: it lacks the scope "${scope}".`,
    headers: { 'www-authenticate': `Bearer error="insufficient_scope", scope="${scope}"` },
  });

/**
 * Lets a request through when it carries a key of an account that may do what the route does, and says whose. A start
 * that came to nothing before the account was asked tells nothing to whom the account would not let in.
 */
export const requireKey = createMiddleware<AppEnv>(async function requireKey(c, next) {
  const need = needOf(c.req.method, c.req.routePath);
  await callerOf(c);
  await next();
  if (!c.var.isKeyJudged) await judge(c, need, await keyOf(c));
});

/** Lets a request through when it carries the admin key, compared in constant time. */
export const requireAdmin = createMiddleware<AppEnv>(async function requireAdmin(c, next) {
  if (!c.env.ADMIN_KEY) throw notConfigured('ADMIN_KEY');
  const key = bearer(c);
  if (!key) throw refuse(SEND_KEY);
  takeTry(c);
  if (!(await timingSafeEqual(key, c.env.ADMIN_KEY))) throw refuse('The key is not the admin key.');
  giveBackTry(c);
  c.set('actor', 'admin');
  await next();
});

/** Lets a request through that may read the metrics: with their own token, or the admin key. */
export const requireMetrics = createMiddleware<AppEnv>(async function requireMetrics(c, next) {
  const { METRICS_TOKEN, ADMIN_KEY } = c.env;
  const opening = [METRICS_TOKEN, ADMIN_KEY].filter((secret) => !!secret) as string[];
  if (opening.length === 0) throw notConfigured('METRICS_TOKEN');
  const key = bearer(c);
  if (!key) throw refuse(SEND_KEY);
  takeTry(c);
  const opens = await Promise.all(opening.map((secret) => timingSafeEqual(key, secret)));
  if (!opens.includes(true)) throw refuse('The key opens no metrics.');
  giveBackTry(c);
  await next();
});

/** Who acts, for the audit trail. */
export const actorOf = (c: Context<AppEnv>): Actor => c.var.actor;

/**
 * Whose job may be looked at: the account of the key, or null (anyone's) for a valid `token` of this very job and
 * thing. Throws a 401 Problem.
 */
export async function ownerOrLink(c: Context<AppEnv>, job: string, opens: Opens): Promise<string | null> {
  const token = c.req.query('token');
  if (token === undefined) return (await callerOf(c)).account;
  switch (await checkLink(secretsOf(c.env), job, opens, token, Date.now())) {
    case 'valid':
      return null;
    case 'expired':
      throw refuse('The link has expired; ask for the job again to get a new one.');
    case 'invalid':
      throw refuseTry(c, 'The link is not valid for this.');
  }
}

/** Whether the caller's key still opens, as its account said at most `maxAgeMs` ago. */
export async function stillOpens(c: Context<AppEnv>, { account, keyId }: Caller, maxAgeMs: number): Promise<boolean> {
  const standing = await standingOf(c, { account, id: keyId }, maxAgeMs);
  return standing !== null && refuseKey(standing, { hashes: [standing.hash] }, Date.now()) === null;
}
