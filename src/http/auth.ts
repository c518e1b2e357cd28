/** Who may come in: holders of an account's key, of a signed link, of the deployment's admin key. */
import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import { timingSafeEqual } from 'hono/utils/buffer';
import type { KeyRefusal } from '../account/account.ts';
import { hashKey, parseKey } from '../account/key.ts';
import { checkLink, type Opens } from '../account/link.ts';
import { callObject } from './call-object.ts';
import type { AppEnv, Caller, Env } from './env.ts';
import { Problem } from './problem.ts';

const refuse = (detail: string) =>
  new Problem({ status: 401, code: 'unauthorized', detail, headers: { 'www-authenticate': 'Bearer' } });
const notConfigured = (secret: string) =>
  new Problem({ status: 503, code: 'not_configured', detail: `This deployment has no ${secret} secret yet.` });
const SEND_KEY = 'Send the key as "Authorization: Bearer KEY".';

/** The key of a request; fal's client says `Key` where others say `Bearer`. */
const bearer = (c: Context<AppEnv>): string | undefined =>
  /^(?:Bearer|Key) +(\S+)$/i.exec(c.req.header('authorization') ?? '')?.[1];

/** What keys and links are signed with. Throws a 503 Problem where the deployment has none. */
export function signingSecret({ SIGNING_SECRET }: Pick<Env, 'SIGNING_SECRET'>): string {
  if (!SIGNING_SECRET) throw notConfigured('SIGNING_SECRET');
  return SIGNING_SECRET;
}

const KEY_FAULTS: Readonly<Record<KeyRefusal, string>> = {
  unknown: 'The key is not valid.',
  revoked: 'The key was revoked.',
};

/** Whose key it is. Throws a 401 Problem; without a signing secret nobody gets in. */
export async function callerOf(env: Env, text: string | undefined): Promise<Caller> {
  const secret = signingSecret(env);
  if (!text) throw refuse(SEND_KEY);
  const key = parseKey(text);
  if (!key) throw refuse('The key is not valid: it has the form ralu_PREFIX_SECRET.');
  const hash = await hashKey(secret, key);
  const refusal = await callObject(env.ACCOUNTS, key.account, (account) => account.refuse(key.id, hash));
  if (refusal) throw refuse(KEY_FAULTS[refusal]);
  return { account: key.account, keyId: key.id };
}

/** Lets a request through when it carries a key of an account, and says whose. */
export const requireKey = createMiddleware<AppEnv>(async function requireKey(c, next) {
  c.set('caller', await callerOf(c.env, bearer(c)));
  await next();
});

/** Lets a request through when it carries the admin key, compared in constant time. */
export const requireAdmin = createMiddleware<AppEnv>(async function requireAdmin(c, next) {
  if (!c.env.ADMIN_KEY) throw notConfigured('ADMIN_KEY');
  const key = bearer(c);
  if (!key) throw refuse(SEND_KEY);
  if (!(await timingSafeEqual(key, c.env.ADMIN_KEY))) throw refuse('The key is not the admin key.');
  await next();
});

/**
 * Whose job may be looked at: the account of the key, or null (anyone's) for a valid `token` of this very job and
 * thing. Throws a 401 Problem.
 */
export async function ownerOrLink(c: Context<AppEnv>, job: string, opens: Opens): Promise<string | null> {
  const token = c.req.query('token');
  if (token === undefined) return (await callerOf(c.env, bearer(c))).account;
  switch (await checkLink(signingSecret(c.env), job, opens, token, Date.now())) {
    case 'valid':
      return null;
    case 'expired':
      throw refuse('The link has expired; ask for the job again to get a new one.');
    case 'invalid':
      throw refuse('The link is not valid for this.');
  }
}
