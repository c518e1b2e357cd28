/** Accounts and their keys: opened with the admin key, looked at and revoked with a key of the account. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { type AccountLimits, DEFAULT_LIMITS } from '../account/account.ts';
import {
  ACCOUNT_ID,
  type ApiKey,
  formatKey,
  hashKey,
  KEY_ID,
  keyPrefix,
  newAccountId,
  newKey,
} from '../account/key.ts';
import { MAX_STEPS } from '../job/schedule-request.ts';
import { requireAdmin, requireKey, signingSecret } from './auth.ts';
import { callObject } from './call-object.ts';
import type { AppEnv, Env } from './env.ts';
import { Problem } from './problem.ts';
import { limitBody, requireJson } from './request-body.ts';

const name = z.string().min(1).max(100);
/** above any image of any model; an image that has no work stated costs nothing */
const tflops = z.number().positive().max(1e9).nullable().default(null);
const limits = z.strictObject({
  images_per_minute: z.int().min(1).max(100_000).default(DEFAULT_LIMITS.imagesPerMinute),
  concurrent_jobs: z.int().min(1).max(10_000).default(DEFAULT_LIMITS.concurrentJobs),
  tflops_per_minute: tflops.openapi({
    description: 'work that may begin in a minute; null: as much as images_per_minute plain pictures of the model',
  }),
  tflops_per_image: tflops.openapi({ description: 'null: as much as 4 plain pictures of the model' }),
  steps_per_image: z.int().min(1).max(MAX_STEPS).default(DEFAULT_LIMITS.stepsPerImage),
});

const newKeyView = z
  .object({
    id: z.string(),
    name: z.string(),
    prefix: z.string(),
    key: z.string().openapi({ description: 'shown this once; only a keyed hash of it is kept' }),
  })
  .openapi('NewKey');
const keyView = z
  .object({
    id: z.string(),
    name: z.string(),
    prefix: z.string(),
    created_at: z.int(),
    revoked_at: z.int().nullable(),
    tflops_per_minute: z.number().nullable(),
  })
  .openapi('Key');
const accountView = z
  .object({
    id: z.string(),
    object: z.literal('account'),
    name: z.string(),
    created_at: z.int(),
    limits,
    open_jobs: z.int(),
  })
  .openapi('Account');

const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { 'application/json': { schema } },
});
const body = <T extends z.ZodType>(schema: T) => ({ required: true, content: { 'application/json': { schema } } });
const accountParam = z.object({ account: z.string().openapi({ example: 'acct_0123456789abcdef' }) });
const keyParam = z.object({ key: z.string().openapi({ example: '01234567' }) });

const openAccount = createRoute({
  method: 'post',
  path: '/v1/accounts',
  summary: 'Open an account, with its first key (admin)',
  middleware: [requireAdmin, limitBody, requireJson] as const,
  request: { body: body(z.strictObject({ name, limits: limits.optional(), key_name: name.default('first') })) },
  responses: { 201: json(z.object({ account: accountView, key: newKeyView }), 'The account') },
});
const addKey = createRoute({
  method: 'post',
  path: '/v1/accounts/{account}/keys',
  summary: 'Make another key (admin)',
  middleware: [requireAdmin, limitBody, requireJson] as const,
  request: { params: accountParam, body: body(z.strictObject({ name, tflops_per_minute: tflops })) },
  responses: { 201: json(newKeyView, 'The key') },
});
const getAccount = createRoute({
  method: 'get',
  path: '/v1/account',
  summary: 'The account of the key',
  middleware: [requireKey] as const,
  responses: { 200: json(accountView, 'The account') },
});
const listKeys = createRoute({
  method: 'get',
  path: '/v1/account/keys',
  summary: 'The keys of the account, without their secrets',
  middleware: [requireKey] as const,
  responses: { 200: json(z.object({ object: z.literal('list'), data: z.array(keyView) }), 'The keys') },
});
const revokeKey = createRoute({
  method: 'delete',
  path: '/v1/account/keys/{key}',
  summary: 'Revoke a key of the account',
  middleware: [requireKey] as const,
  request: { params: keyParam },
  responses: { 204: { description: 'Revoked: it opens nothing from now on' } },
});

const seconds = (ms: number): number => Math.floor(ms / 1000);

const viewLimits = (of: AccountLimits): z.infer<typeof limits> => ({
  images_per_minute: of.imagesPerMinute,
  concurrent_jobs: of.concurrentJobs,
  tflops_per_minute: of.tflopsPerMinute,
  tflops_per_image: of.tflopsPerImage,
  steps_per_image: of.stepsPerImage,
});
/** Law: `viewLimits(limitsOf(x))` is `x`. */
const limitsOf = (of: z.infer<typeof limits>): AccountLimits => ({
  imagesPerMinute: of.images_per_minute,
  concurrentJobs: of.concurrent_jobs,
  tflopsPerMinute: of.tflops_per_minute,
  tflopsPerImage: of.tflops_per_image,
  stepsPerImage: of.steps_per_image,
});

/** The account as its holder sees it. Null where there is none. */
async function viewAccount(env: Env, id: string): Promise<z.infer<typeof accountView> | null> {
  const found = await callObject(env.ACCOUNTS, id, (account) => account.view());
  if (!found) return null;
  return {
    id,
    object: 'account',
    name: found.name,
    created_at: seconds(found.createdAt),
    limits: viewLimits(found.limits),
    open_jobs: found.openJobs,
  };
}

const viewNewKey = (key: ApiKey, called: string): z.infer<typeof newKeyView> => ({
  id: key.id,
  name: called,
  prefix: keyPrefix(key),
  key: formatKey(key),
});

export function routeAccounts(app: OpenAPIHono<AppEnv>): void {
  app.openapi(openAccount, async (c) => {
    const { name, limits = viewLimits(DEFAULT_LIMITS), key_name } = c.req.valid('json');
    const id = newAccountId();
    const key = newKey(id);
    const hash = await hashKey(signingSecret(c.env), key);
    const account = {
      id,
      name,
      limits: limitsOf(limits),
      key: { id: key.id, name: key_name, hash, tflopsPerMinute: null },
    };
    await callObject(c.env.ACCOUNTS, id, (stub) => stub.open(account));
    return c.json(
      { account: (await viewAccount(c.env, id)) as z.infer<typeof accountView>, key: viewNewKey(key, key_name) },
      201,
    );
  });

  app.openapi(addKey, async (c) => {
    const { account } = c.req.valid('param');
    const { name, tflops_per_minute: tflopsPerMinute } = c.req.valid('json');
    const key = newKey(account);
    const hash = await hashKey(signingSecret(c.env), key);
    const isAdded =
      ACCOUNT_ID.test(account) &&
      (await callObject(c.env.ACCOUNTS, account, (stub) => stub.addKey({ id: key.id, name, hash, tflopsPerMinute })));
    if (!isAdded)
      throw new Problem({ status: 404, code: 'account_not_found', detail: 'There is no account of that id.' });
    return c.json(viewNewKey(key, name), 201);
  });

  app.openapi(getAccount, async (c) =>
    c.json((await viewAccount(c.env, c.var.caller.account)) as z.infer<typeof accountView>, 200),
  );

  app.openapi(listKeys, async (c) => {
    const { account } = c.var.caller;
    const keys = await callObject(c.env.ACCOUNTS, account, (stub) => stub.keys());
    const data = keys.map(({ id, name, createdAt, revokedAt, tflopsPerMinute }) => ({
      id,
      name,
      prefix: keyPrefix({ account, id }),
      created_at: seconds(createdAt),
      revoked_at: revokedAt === null ? null : seconds(revokedAt),
      tflops_per_minute: tflopsPerMinute,
    }));
    return c.json({ object: 'list' as const, data }, 200);
  });

  app.openapi(revokeKey, async (c) => {
    const { key } = c.req.valid('param');
    const isRevoked =
      KEY_ID.test(key) && (await callObject(c.env.ACCOUNTS, c.var.caller.account, (stub) => stub.revokeKey(key)));
    if (!isRevoked) throw new Problem({ status: 404, code: 'key_not_found', detail: 'The account has no such key.' });
    return c.body(null, 204);
  });
}
