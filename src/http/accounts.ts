/**
 * Accounts and their keys: ruled with the admin key of the deployment, and by keys of the account that have the scope
 * `admin`.
 */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import {
  type AccountLimits,
  type AuditEntry,
  type Balance,
  DEFAULT_LIMITS,
  type KeyView,
  type NewKey,
  PREPAID,
  type Terms,
  UNLIMITED,
} from '../account/account.ts';
import { ACCOUNT_ID, KEY_ID, keyPrefix, type MadeKey, makeKey, newAccountId } from '../account/key.ts';
import { SCOPES } from '../account/scopes.ts';
import { formatUsd, parseUsd, USD } from '../billing/money.ts';
import { type AccountCalls, DIRECTORY_NAME, type Remote } from '../job/rpc.ts';
import { MAX_STEPS } from '../job/schedule-request.ts';
import { actorOf, requireAdmin, requireKey } from './auth.ts';
import { callObject } from './call-object.ts';
import type { AppEnv, Env } from './env.ts';
import { secretsOf } from './gate.ts';
import { badField, Problem } from './problem.ts';
import { limitBody, requireJson } from './request-body.ts';

const name = z.string().min(1).max(100);
/** above any image of any model; an image that has no work stated costs nothing */
const tflops = z.number().positive().max(1e9).nullable();
const limitFields = {
  images_per_minute: z.int().min(1).max(100_000),
  concurrent_jobs: z.int().min(1).max(10_000),
  tflops_per_minute: tflops.openapi({
    description: 'work that may begin in a minute; null: as much as images_per_minute plain pictures of the model',
  }),
  tflops_per_image: tflops.openapi({ description: 'null: as much as 4 plain pictures of the model' }),
  steps_per_image: z.int().min(1).max(MAX_STEPS),
};
const limits = z.strictObject({
  images_per_minute: limitFields.images_per_minute.default(DEFAULT_LIMITS.imagesPerMinute),
  concurrent_jobs: limitFields.concurrent_jobs.default(DEFAULT_LIMITS.concurrentJobs),
  tflops_per_minute: limitFields.tflops_per_minute.default(null),
  tflops_per_image: limitFields.tflops_per_image.default(null),
  steps_per_image: limitFields.steps_per_image.default(DEFAULT_LIMITS.stepsPerImage),
});
const scopes = z
  .array(z.enum(SCOPES))
  .min(1)
  .max(SCOPES.length)
  .openapi({ description: 'what the key may do; all of it where absent' });
/** Unix seconds */
const expiry = z.int().positive().max(99_999_999_999).nullable();

const newKeyView = z
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
    last_used_at: z.int().nullable().openapi({ description: 'to the minute' }),
    tflops_per_minute: z.number().nullable(),
  })
  .openapi('Key');
const balanceView = z
  .object({
    mode: z.enum(['prepaid', 'postpaid']),
    balance_usd: z.string().openapi({ description: 'paid in and not used; below 0: owed', example: '9.993120' }),
    held_usd: z.string().openapi({ description: 'of that, held for jobs under way' }),
    available_usd: z.string().nullable().openapi({ description: 'what further jobs may cost; null: no limit' }),
    credit_limit_usd: z.string().nullable(),
    stripe_customer: z.string().nullable(),
  })
  .openapi('Balance');
const accountView = z
  .object({
    id: z.string(),
    object: z.literal('account'),
    name: z.string(),
    created_at: z.int(),
    suspended_at: z.int().nullable(),
    limits,
    billing: balanceView,
    open_jobs: z.int(),
    is_erasing: z.boolean().openapi({ description: 'its jobs are being erased, as was asked' }),
  })
  .openapi('Account');
const usd = z.string().regex(USD, 'must be an amount in dollars as text, such as "12.50"');
const termsFields = {
  mode: z.enum(['prepaid', 'postpaid']).openapi({ description: 'pays ahead, or afterwards' }),
  credit_limit_usd: usd.nullable().openapi({ description: 'what a postpaid account may owe; null: no limit' }),
  stripe_customer: z
    .string()
    .regex(/^cus_\w{1,100}$/, 'must be the id of a customer at Stripe')
    .nullable()
    .openapi({ description: 'whom a meter at Stripe bills for a postpaid account; null: none is told' }),
};
const terms = z.strictObject(termsFields).partial();

const listedAccount = z
  .object({ id: z.string(), name: z.string(), created_at: z.int(), suspended_at: z.int().nullable() })
  .openapi('ListedAccount');
const auditEntry = z
  .object({
    seq: z.int(),
    at: z.int().openapi({ description: 'milliseconds since 1970' }),
    actor: z.string().openapi({ description: '`admin`, `system`, or `key:` and the id of a key' }),
    act: z.string(),
    subject: z.string().nullable().openapi({ description: 'the key or job it was done to; null: the account' }),
    detail: z.record(z.string(), z.union([z.string(), z.number(), z.array(z.string()), z.null()])),
  })
  .openapi('AuditEntry');

const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { 'application/json': { schema } },
});
const body = <T extends z.ZodType>(schema: T) => ({ required: true, content: { 'application/json': { schema } } });
const page = <T extends z.ZodType>(entry: T) =>
  z.object({
    object: z.literal('list'),
    data: z.array(entry),
    has_more: z.boolean(),
    next_cursor: z.string().nullable(),
  });
const keyList = z.object({ object: z.literal('list'), data: z.array(keyView) });
const pageQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(100).default(50),
  after: z
    .string()
    .regex(/^\d{1,15}$/, 'must be the next_cursor of an earlier page')
    .optional(),
});
const accountParam = z.object({ account: z.string().openapi({ example: 'acct_0123456789abcdef' }) });
const keyParam = z.object({ key: z.string().openapi({ example: '01234567' }) });
const keyOfAccount = accountParam.extend(keyParam.shape);

const keyBody = z.strictObject({
  name,
  scopes: scopes.optional(),
  expires_at: expiry.optional(),
  tflops_per_minute: tflops.default(null),
});
const rotateBody = z.strictObject({
  overlap_hours: z
    .number()
    .min(0)
    .max(24 * 90)
    .default(24)
    .openapi({ description: 'how long the old key goes on opening' }),
});
const suspendBody = z.strictObject({
  running: z.enum(['finish', 'cancel']).openapi({ description: 'what becomes of the jobs under way' }),
});
const changeBody = z.strictObject({
  name: name.optional(),
  limits: z.strictObject(limitFields).partial().optional(),
});

const byAdmin = [requireAdmin];
const byAdminWithBody = [requireAdmin, limitBody, requireJson];
const byKey = [requireKey];
const byKeyWithBody = [requireKey, limitBody, requireJson];

const listAccounts = createRoute({
  method: 'get',
  path: '/v1/accounts',
  summary: 'The accounts, in the order they were opened (admin)',
  middleware: byAdmin,
  request: { query: pageQuery },
  responses: { 200: json(page(listedAccount), 'A page') },
});
const openAccount = createRoute({
  method: 'post',
  path: '/v1/accounts',
  summary: 'Open an account, with its first key (admin)',
  middleware: byAdminWithBody,
  request: {
    body: body(
      z.strictObject({ name, limits: limits.optional(), billing: terms.optional(), key_name: name.default('first') }),
    ),
  },
  responses: { 201: json(z.object({ account: accountView, key: newKeyView }), 'The account') },
});
const showAccount = createRoute({
  method: 'get',
  path: '/v1/accounts/{account}',
  summary: 'An account (admin)',
  middleware: byAdmin,
  request: { params: accountParam },
  responses: { 200: json(accountView, 'The account') },
});
const changeAccount = createRoute({
  method: 'patch',
  path: '/v1/accounts/{account}',
  summary: 'Change the name or limits of an account (admin)',
  middleware: byAdminWithBody,
  request: { params: accountParam, body: body(changeBody) },
  responses: { 200: json(accountView, 'The account as it is now') },
});
const suspendAccount = createRoute({
  method: 'post',
  path: '/v1/accounts/{account}/suspend',
  summary: 'Refuse new work of an account; its running jobs finish or are cancelled (admin)',
  middleware: byAdminWithBody,
  request: { params: accountParam, body: body(suspendBody) },
  responses: { 200: json(accountView, 'The account as it is now') },
});
const resumeAccount = createRoute({
  method: 'post',
  path: '/v1/accounts/{account}/resume',
  summary: 'Take work of an account again (admin)',
  middleware: byAdmin,
  request: { params: accountParam },
  responses: { 200: json(accountView, 'The account as it is now') },
});
const eraseContent = createRoute({
  method: 'delete',
  path: '/v1/accounts/{account}/content',
  summary: 'Erase every job that an account has now (admin)',
  middleware: byAdmin,
  request: { params: accountParam },
  responses: { 202: json(accountView, 'Under way until `is_erasing` is false') },
});
const auditOfAny = createRoute({
  method: 'get',
  path: '/v1/accounts/{account}/audit',
  summary: 'Who did what to an account, oldest first (admin)',
  middleware: byAdmin,
  request: { params: accountParam, query: pageQuery },
  responses: { 200: json(page(auditEntry), 'A page') },
});
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
  responses: { 201: json(newKeyView, 'The key') },
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
const getAccount = createRoute({
  method: 'get',
  path: '/v1/account',
  summary: 'The account of the key',
  middleware: byKey,
  responses: { 200: json(accountView, 'The account') },
});
const getAudit = createRoute({
  method: 'get',
  path: '/v1/account/audit',
  summary: 'Who did what to the account, oldest first',
  middleware: byKey,
  request: { query: pageQuery },
  responses: { 200: json(page(auditEntry), 'A page') },
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
  responses: { 201: json(newKeyView, 'The key') },
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
const seconds = (ms: number): number => Math.floor(ms / 1000);
const secondsOrNull = (ms: number | null): number | null => (ms === null ? null : seconds(ms));

const viewLimits = (of: AccountLimits): z.infer<typeof limits> => ({
  images_per_minute: of.imagesPerMinute,
  concurrent_jobs: of.concurrentJobs,
  tflops_per_minute: of.tflopsPerMinute,
  tflops_per_image: of.tflopsPerImage,
  steps_per_image: of.stepsPerImage,
});
const usdOrNull = (micro: number | null): string | null => (micro === null ? null : formatUsd(micro));
const viewBalance = (of: Balance): z.infer<typeof balanceView> => ({
  mode: of.mode,
  balance_usd: formatUsd(of.balance),
  held_usd: formatUsd(of.held),
  available_usd: usdOrNull(of.available),
  credit_limit_usd: usdOrNull(of.creditLimit),
  stripe_customer: of.stripeCustomer,
});
type GivenLimits = z.infer<typeof changeBody>['limits'] & object;
/** Those of the limits that are given. Law: of all of them, `viewLimits` of it is what was given. */
const givenLimits = (of: GivenLimits): Partial<AccountLimits> => ({
  ...(of.images_per_minute !== undefined && { imagesPerMinute: of.images_per_minute }),
  ...(of.concurrent_jobs !== undefined && { concurrentJobs: of.concurrent_jobs }),
  ...(of.tflops_per_minute !== undefined && { tflopsPerMinute: of.tflops_per_minute }),
  ...(of.tflops_per_image !== undefined && { tflopsPerImage: of.tflops_per_image }),
  ...(of.steps_per_image !== undefined && { stepsPerImage: of.steps_per_image }),
});

/** Terms as they are once these are given. Throws a 400 Problem for what a prepaid account cannot have. */
function termsOf({ mode, credit_limit_usd, stripe_customer }: z.infer<typeof terms>, before: Terms): Terms {
  const now = mode ?? before.mode;
  const begun = now === before.mode ? before : now === 'prepaid' ? PREPAID : UNLIMITED;
  if (now === 'prepaid' && credit_limit_usd)
    throw badField('billing.credit_limit_usd', credit_limit_usd, 'belongs to a postpaid account');
  if (now === 'prepaid' && stripe_customer)
    throw badField('billing.stripe_customer', stripe_customer, 'belongs to a postpaid account');
  const creditLimit =
    credit_limit_usd === undefined ? begun.creditLimit : credit_limit_usd && parseUsd(credit_limit_usd);
  return {
    mode: now,
    creditLimit: now === 'prepaid' ? 0 : (creditLimit as number | null),
    stripeCustomer: stripe_customer === undefined ? begun.stripeCustomer : stripe_customer,
  };
}

/** The account as its holder sees it. Throws a 404 Problem where there is none. */
async function viewAccount(env: Env, id: string): Promise<z.infer<typeof accountView>> {
  const found = ACCOUNT_ID.test(id) && (await callObject(env.ACCOUNTS, id, (account) => account.view()));
  if (!found) throw accountNotFound();
  return {
    id,
    object: 'account',
    name: found.name,
    created_at: seconds(found.createdAt),
    suspended_at: secondsOrNull(found.suspendedAt),
    limits: viewLimits(found.limits),
    billing: viewBalance(found.balance),
    open_jobs: found.openJobs,
    is_erasing: found.isErasing,
  };
}

const accountNotFound = (): Problem =>
  new Problem({ status: 404, code: 'account_not_found', detail: 'There is no account of that id.' });
const keyNotFound = (): Problem =>
  new Problem({ status: 404, code: 'key_not_found', detail: 'The account has no such key.' });

const viewNewKey = (
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

const viewKey = (account: string, key: KeyView): z.infer<typeof keyView> => ({
  id: key.id,
  name: key.name,
  prefix: keyPrefix(account, key.id, key.isSigned),
  scopes: [...key.scopes],
  created_at: seconds(key.createdAt),
  expires_at: secondsOrNull(key.expiresAt),
  revoked_at: secondsOrNull(key.revokedAt),
  last_used_at: secondsOrNull(key.lastUsedAt),
  tflops_per_minute: key.tflopsPerMinute,
});

const viewEntry = ({ detail, ...entry }: AuditEntry): z.infer<typeof auditEntry> => ({
  ...entry,
  detail: Object.fromEntries(
    Object.entries(detail).map(([field, value]) => [field, Array.isArray(value) ? [...value] : value]),
  ) as z.infer<typeof auditEntry>['detail'],
});

/** Asks for one entry more than a page has, which tells whether there are more. */
async function readPage<T extends { readonly seq: number }, V>(
  { limit, after }: z.infer<typeof pageQuery>,
  read: (query: { readonly after: number; readonly limit: number }) => Promise<readonly T[]>,
  view: (entry: T) => V,
) {
  const entries = await read({ after: Number(after ?? 0), limit: limit + 1 });
  const shown = entries.slice(0, limit);
  const hasMore = entries.length > limit;
  return {
    object: 'list' as const,
    data: shown.map(view),
    has_more: hasMore,
    next_cursor: hasMore ? String(shown.at(-1)?.seq) : null,
  };
}

/** What the account's object answers, by an id that the admin gave. Throws a 404 Problem for what is no such id. */
function inAccount<R>(c: Context<AppEnv>, id: string, call: (account: Remote<AccountCalls>) => Promise<R>): Promise<R> {
  if (!ACCOUNT_ID.test(id)) throw accountNotFound();
  return callObject(c.env.ACCOUNTS, id, call);
}

/** A new key of an account. Throws a 404, 409 or 400 Problem. */
async function makeKeyIn(
  c: Context<AppEnv>,
  account: string,
  { name: called, scopes: may = SCOPES.slice(), expires_at = null, tflops_per_minute }: z.infer<typeof keyBody>,
): Promise<z.infer<typeof newKeyView>> {
  const expiresAt = expires_at === null ? null : expires_at * 1000;
  if (expiresAt !== null && expiresAt <= Date.now())
    throw badField('expires_at', expires_at, 'must be a time to come, in Unix seconds');
  if (!ACCOUNT_ID.test(account)) throw accountNotFound();
  const key = await makeKey(secretsOf(c.env), account);
  const kept = {
    id: key.id,
    name: called,
    hash: key.hash,
    scopes: may,
    expiresAt,
    tflopsPerMinute: tflops_per_minute,
    microUsdPerDay: null,
    microUsdPerMonth: null,
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
  account: string,
  id: string,
  { overlap_hours }: z.infer<typeof rotateBody>,
): Promise<z.infer<typeof newKeyView>> {
  if (!ACCOUNT_ID.test(account)) throw accountNotFound();
  if (!KEY_ID.test(id)) throw keyNotFound();
  const key = await makeKey(secretsOf(c.env), account);
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

export function routeAccounts(app: OpenAPIHono<AppEnv>): void {
  routeForAdmin(app);
  routeForKeys(app);
}

function routeForAdmin(app: OpenAPIHono<AppEnv>): void {
  app.openapi(listAccounts, async (c) =>
    c.json(
      await readPage(
        c.req.valid('query'),
        (query) => callObject(c.env.DIRECTORY, DIRECTORY_NAME, (directory) => directory.accounts(query)),
        ({ id, name, createdAt, suspendedAt }) => ({
          id,
          name,
          created_at: seconds(createdAt),
          suspended_at: secondsOrNull(suspendedAt),
        }),
      ),
      200,
    ),
  );

  app.openapi(openAccount, async (c) => {
    const { name, limits: asked = viewLimits(DEFAULT_LIMITS), billing = {}, key_name } = c.req.valid('json');
    const id = newAccountId();
    const key = await makeKey(secretsOf(c.env), id);
    const kept = {
      id: key.id,
      name: key_name,
      hash: key.hash,
      scopes: SCOPES,
      expiresAt: null,
      tflopsPerMinute: null,
      microUsdPerDay: null,
      microUsdPerMonth: null,
    };
    const account = {
      id,
      name,
      limits: { ...DEFAULT_LIMITS, ...givenLimits(asked) },
      terms: termsOf(billing, PREPAID),
      key: kept,
    };
    await callObject(c.env.ACCOUNTS, id, (stub) => stub.open(account));
    return c.json({ account: await viewAccount(c.env, id), key: viewNewKey(key, kept) }, 201);
  });

  app.openapi(showAccount, async (c) => c.json(await viewAccount(c.env, c.req.valid('param').account), 200));

  app.openapi(changeAccount, async (c) => {
    const { account } = c.req.valid('param');
    const { name, limits: asked = {} } = c.req.valid('json');
    const changes = { ...(name !== undefined && { name }), limits: givenLimits(asked) };
    await inAccount(c, account, (stub) => stub.change(changes, actorOf(c)));
    return c.json(await viewAccount(c.env, account), 200);
  });

  app.openapi(suspendAccount, async (c) => {
    const { account } = c.req.valid('param');
    const { running } = c.req.valid('json');
    await inAccount(c, account, (stub) => stub.suspend(running, actorOf(c)));
    return c.json(await viewAccount(c.env, account), 200);
  });

  app.openapi(resumeAccount, async (c) => {
    const { account } = c.req.valid('param');
    await inAccount(c, account, (stub) => stub.resume(actorOf(c)));
    return c.json(await viewAccount(c.env, account), 200);
  });

  app.openapi(eraseContent, async (c) => {
    const { account } = c.req.valid('param');
    await inAccount(c, account, (stub) => stub.eraseContent(actorOf(c)));
    return c.json(await viewAccount(c.env, account), 202);
  });

  app.openapi(auditOfAny, async (c) => {
    const { account } = c.req.valid('param');
    await viewAccount(c.env, account);
    const read = (query: { after: number; limit: number }) => inAccount(c, account, (stub) => stub.audit(query));
    return c.json(await readPage(c.req.valid('query'), read, viewEntry), 200);
  });

  app.openapi(keysOfAny, async (c) => {
    const { account } = c.req.valid('param');
    await viewAccount(c.env, account);
    const keys = await inAccount(c, account, (stub) => stub.keys());
    return c.json({ object: 'list' as const, data: keys.map((key) => viewKey(account, key)) }, 200);
  });

  app.openapi(addKeyToAny, async (c) =>
    c.json(await makeKeyIn(c, c.req.valid('param').account, c.req.valid('json')), 201),
  );

  app.openapi(rotateKeyOfAny, async (c) => {
    const { account, key } = c.req.valid('param');
    return c.json(await rotateKeyIn(c, account, key, c.req.valid('json')), 201);
  });

  app.openapi(revokeKeyOfAny, async (c) => {
    const { account, key } = c.req.valid('param');
    await revokeKeyIn(c, account, key);
    return c.body(null, 204);
  });
}

function routeForKeys(app: OpenAPIHono<AppEnv>): void {
  app.openapi(getAccount, async (c) => c.json(await viewAccount(c.env, c.var.caller.account), 200));

  app.openapi(getAudit, async (c) => {
    const { account } = c.var.caller;
    const read = (query: { after: number; limit: number }) =>
      callObject(c.env.ACCOUNTS, account, (stub) => stub.audit(query));
    return c.json(await readPage(c.req.valid('query'), read, viewEntry), 200);
  });

  app.openapi(listKeys, async (c) => {
    const { account } = c.var.caller;
    const keys = await callObject(c.env.ACCOUNTS, account, (stub) => stub.keys());
    return c.json({ object: 'list' as const, data: keys.map((key) => viewKey(account, key)) }, 200);
  });

  app.openapi(addKey, async (c) => c.json(await makeKeyIn(c, c.var.caller.account, c.req.valid('json')), 201));

  app.openapi(rotateKey, async (c) =>
    c.json(await rotateKeyIn(c, c.var.caller.account, c.req.valid('param').key, c.req.valid('json')), 201),
  );

  app.openapi(revokeKey, async (c) => {
    await revokeKeyIn(c, c.var.caller.account, c.req.valid('param').key);
    return c.body(null, 204);
  });
}
