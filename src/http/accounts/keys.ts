/** The keys of an account: made, listed, replaced and revoked, by the deployment’s admin and by keys of the account. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { KeyView, NewKey } from '../../account/account.ts';
import { ACCOUNT_ID, KEY_ID, keyPrefix, type MadeKey, makeKey } from '../../account/key.ts';
import { type Jurisdiction, placeIn } from '../../account/place.ts';
import { SCOPES } from '../../account/scopes.ts';
import { actorOf } from '../auth.ts';
import { callObject } from '../call-object.ts';
import type { AppEnv } from '../env.ts';
import { secretsOf } from '../gate.ts';
import { badField, Problem } from '../problem.ts';
import { readJurisdiction } from './account.ts';
import { microOrNull } from './limits.ts';
import {
  accountNotFound,
  accountParam,
  body,
  byAdmin,
  byAdminWithBody,
  byKey,
  byKeyWithBody,
  inAccount,
  json,
  name,
  seconds,
  secondsOrNull,
  tflops,
  usd,
  usdOrNull,
} from './wire.ts';

const scopes = z
  .array(z.enum(SCOPES))
  .min(1)
  .max(SCOPES.length)
  .openapi({ description: 'what the key may do; all of it where absent' });
/** Unix seconds */
const expiry = z.int().positive().max(99_999_999_999).nullable();

export const newKeyView = z
  .object({
    id: z.string(),
    name: z.string(),
    prefix: z.string(),
    scopes: z.array(z.enum(SCOPES)),
    expires_at: z.int().nullable(),
    key: z.string().openapi({ description: 'shown this once; only a keyed hash of it is kept' }),
  })
  .openapi('NewKey');
const keyView = z
  .object({
    id: z.string(),
    name: z.string(),
    prefix: z.string(),
    scopes: z.array(z.enum(SCOPES)),
    created_at: z.int(),
    expires_at: z.int().nullable(),
    revoked_at: z.int().nullable(),
    last_used_at: z.int().nullable().openapi({ description: 'to the hour' }),
    tflops_per_minute: z.number().nullable(),
    usd_per_day: z.string().nullable(),
    usd_per_month: z.string().nullable(),
  })
  .openapi('Key');
const keyList = z.object({ object: z.literal('list'), data: z.array(keyView) });
const keyParam = z.object({ key: z.string().openapi({ example: '01234567' }) });
const keyOfAccount = accountParam.extend(keyParam.shape);

const keyBody = z.strictObject({
  name,
  scopes: scopes.optional(),
  expires_at: expiry.optional(),
  tflops_per_minute: tflops.default(null),
  usd_per_day: usd
    .nullable()
    .default(null)
    .openapi({ description: 'what may be spent with it in a day (UTC); null: what the account may' }),
  usd_per_month: usd.nullable().default(null).openapi({ description: 'the same in a month' }),
});
const rotateBody = z.strictObject({
  overlap_hours: z
    .number()
    .min(0)
    .max(24 * 90)
    .default(24)
    .openapi({ description: 'how long the old key goes on opening' }),
});

const TOO_MANY = { description: 'The account has as many keys that open as it may' };

const keysOfAny = createRoute({
  method: 'get',
  path: '/v1/accounts/{account}/keys',
  summary: 'The keys of an account, without their secrets (admin)',
  middleware: byAdmin,
  request: { params: accountParam },
  responses: { 200: json(keyList, 'The keys') },
});
const addKeyToAny = createRoute({
  method: 'post',
  path: '/v1/accounts/{account}/keys',
  summary: 'Make another key (admin)',
  middleware: byAdminWithBody,
  request: { params: accountParam, body: body(keyBody) },
  responses: { 201: json(newKeyView, 'The key'), 409: TOO_MANY },
});
const rotateKeyOfAny = createRoute({
  method: 'post',
  path: '/v1/accounts/{account}/keys/{key}/rotate',
  summary: 'Make a key in the place of another, which opens a while longer (admin)',
  middleware: byAdminWithBody,
  request: { params: keyOfAccount, body: body(rotateBody) },
  responses: { 201: json(newKeyView, 'The new key') },
});
const revokeKeyOfAny = createRoute({
  method: 'delete',
  path: '/v1/accounts/{account}/keys/{key}',
  summary: 'Revoke a key (admin)',
  middleware: byAdmin,
  request: { params: keyOfAccount },
  responses: { 204: { description: 'Revoked' } },
});
const listKeys = createRoute({
  method: 'get',
  path: '/v1/account/keys',
  summary: 'The keys of the account, without their secrets',
  middleware: byKey,
  responses: { 200: json(keyList, 'The keys') },
});
const addKey = createRoute({
  method: 'post',
  path: '/v1/account/keys',
  summary: 'Make another key of the account',
  middleware: byKeyWithBody,
  request: { body: body(keyBody) },
  responses: { 201: json(newKeyView, 'The key'), 409: TOO_MANY },
});
const rotateKey = createRoute({
  method: 'post',
  path: '/v1/account/keys/{key}/rotate',
  summary: 'Make a key in the place of another, which opens a while longer',
  middleware: byKeyWithBody,
  request: { params: keyParam, body: body(rotateBody) },
  responses: { 201: json(newKeyView, 'The new key') },
});
const revokeKey = createRoute({
  method: 'delete',
  path: '/v1/account/keys/{key}',
  summary: 'Revoke a key of the account',
  middleware: byKey,
  request: { params: keyParam },
  responses: { 204: { description: 'Revoked' } },
});

const HOUR_MS = 3_600_000;

const keyNotFound = (): Problem =>
  new Problem({ status: 404, code: 'key_not_found', detail: 'The account has no such key.' });

export const viewNewKey = (
  { id, prefix, text }: MadeKey,
  { name: called, scopes: may, expiresAt }: Pick<NewKey, 'name' | 'scopes' | 'expiresAt'>,
): z.infer<typeof newKeyView> => ({
  id,
  name: called,
  prefix,
  scopes: [...may],
  expires_at: secondsOrNull(expiresAt),
  key: text,
});

const viewKey = (account: string, jurisdiction: Jurisdiction | null, key: KeyView): z.infer<typeof keyView> => ({
  id: key.id,
  name: key.name,
  prefix: keyPrefix(account, key.id, key.isSigned, placeIn(jurisdiction)),
  scopes: [...key.scopes],
  created_at: seconds(key.createdAt),
  expires_at: secondsOrNull(key.expiresAt),
  revoked_at: secondsOrNull(key.revokedAt),
  last_used_at: secondsOrNull(key.lastUsedAt),
  tflops_per_minute: key.tflopsPerMinute,
  usd_per_day: usdOrNull(key.microUsdPerDay),
  usd_per_month: usdOrNull(key.microUsdPerMonth),
});

/** An account, and where its jobs are kept. */
interface Kept {
  readonly account: string;
  readonly jurisdiction: Jurisdiction | null;
}

/** The same of an account that the admin names. Throws a 404 Problem where there is none. */
const keptOf = async (c: Context<AppEnv>, account: string): Promise<Kept> => ({
  account,
  jurisdiction: await readJurisdiction(c.env, account),
});

/** A new key of an account. Throws a 404, 409 or 400 Problem. */
async function makeKeyIn(
  c: Context<AppEnv>,
  { account, jurisdiction }: Kept,
  {
    name: called,
    scopes: may = SCOPES.slice(),
    expires_at = null,
    tflops_per_minute,
    usd_per_day,
    usd_per_month,
  }: z.infer<typeof keyBody>,
): Promise<z.infer<typeof newKeyView>> {
  const expiresAt = expires_at === null ? null : expires_at * 1000;
  if (expiresAt !== null && expiresAt <= Date.now())
    throw badField('expires_at', expires_at, 'must be a time to come, in Unix seconds');
  if (!ACCOUNT_ID.test(account)) throw accountNotFound();
  const key = await makeKey(secretsOf(c.env), account, placeIn(jurisdiction));
  const kept = {
    id: key.id,
    name: called,
    hash: key.hash,
    scopes: may,
    expiresAt,
    tflopsPerMinute: tflops_per_minute,
    microUsdPerDay: microOrNull(usd_per_day),
    microUsdPerMonth: microOrNull(usd_per_month),
  };
  switch (await inAccount(c, account, (stub) => stub.addKey(kept, actorOf(c)))) {
    case 'added':
      return viewNewKey(key, kept);
    case 'no_account':
      throw accountNotFound();
    case 'too_many_keys':
      throw new Problem({
        status: 409,
        code: 'too_many_keys',
        detail: 'The account has 100 keys that open; revoke one first.',
      });
  }
}

/** A key in the place of another. Throws a 404 Problem where that is none, or opens no more. */
async function rotateKeyIn(
  c: Context<AppEnv>,
  { account, jurisdiction }: Kept,
  id: string,
  { overlap_hours }: z.infer<typeof rotateBody>,
): Promise<z.infer<typeof newKeyView>> {
  if (!ACCOUNT_ID.test(account)) throw accountNotFound();
  if (!KEY_ID.test(id)) throw keyNotFound();
  const key = await makeKey(secretsOf(c.env), account, placeIn(jurisdiction));
  const successor = { id: key.id, hash: key.hash, overlapMs: Math.round(overlap_hours * HOUR_MS) };
  const made = await inAccount(c, account, (stub) => stub.rotateKey(id, successor, actorOf(c)));
  if (!made) throw keyNotFound();
  c.var.gate.standings.forget({ account, id });
  return viewNewKey(key, made);
}

/** Throws a 404 Problem where there is no such key. */
async function revokeKeyIn(c: Context<AppEnv>, account: string, id: string): Promise<void> {
  const isRevoked = KEY_ID.test(id) && (await inAccount(c, account, (stub) => stub.revokeKey(id, actorOf(c))));
  if (!isRevoked) throw keyNotFound();
  c.var.gate.standings.forget({ account, id });
}

export function routeKeysOfAny(app: OpenAPIHono<AppEnv>): void {
  app.openapi(keysOfAny, async (c) => {
    const { account } = c.req.valid('param');
    const jurisdiction = await readJurisdiction(c.env, account);
    const keys = await inAccount(c, account, (stub) => stub.keys());
    return c.json({ object: 'list' as const, data: keys.map((key) => viewKey(account, jurisdiction, key)) }, 200);
  });

  app.openapi(addKeyToAny, async (c) =>
    c.json(await makeKeyIn(c, await keptOf(c, c.req.valid('param').account), c.req.valid('json')), 201),
  );

  app.openapi(rotateKeyOfAny, async (c) => {
    const { account, key } = c.req.valid('param');
    return c.json(await rotateKeyIn(c, await keptOf(c, account), key, c.req.valid('json')), 201);
  });

  app.openapi(revokeKeyOfAny, async (c) => {
    const { account, key } = c.req.valid('param');
    await revokeKeyIn(c, account, key);
    return c.body(null, 204);
  });
}

export function routeKeys(app: OpenAPIHono<AppEnv>): void {
  app.openapi(listKeys, async (c) => {
    const { account, jurisdiction } = c.var.caller;
    const keys = await callObject(c.env.ACCOUNTS, account, (stub) => stub.keys());
    return c.json({ object: 'list' as const, data: keys.map((key) => viewKey(account, jurisdiction, key)) }, 200);
  });

  app.openapi(addKey, async (c) => c.json(await makeKeyIn(c, c.var.caller, c.req.valid('json')), 201));

  app.openapi(rotateKey, async (c) =>
    c.json(await rotateKeyIn(c, c.var.caller, c.req.valid('param').key, c.req.valid('json')), 201),
  );

  app.openapi(revokeKey, async (c) => {
    await revokeKeyIn(c, c.var.caller.account, c.req.valid('param').key);
    return c.body(null, 204);
  });
}
