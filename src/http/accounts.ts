/**
 * Accounts: ruled with the admin key of the deployment, and by keys of the account that have the scope `admin`. Keys,
 * trail, money and books are in files of their own beside.
 */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { DEFAULT_LIMITS, PREPAID } from '../account/account.ts';
import { makeKey, newAccountId } from '../account/key.ts';
import { JURISDICTIONS, placeIn } from '../account/place.ts';
import { SCOPES } from '../account/scopes.ts';
import { DIRECTORY_NAME } from '../job/rpc.ts';
import { accountView, readTerms, viewAccount } from './accounts/account.ts';
import { routeAudit } from './accounts/audit.ts';
import { newKeyView, routeKeys, routeKeysOfAny, viewNewKey } from './accounts/keys.ts';
import { givenLimits, limits, someLimits, terms, termsOf } from './accounts/limits.ts';
import {
  accountParam,
  body,
  byAdmin,
  byAdminWithBody,
  byKey,
  inAccount,
  json,
  name,
  page,
  pageQuery,
  readPage,
  seconds,
  secondsOrNull,
} from './accounts/wire.ts';
import { actorOf } from './auth.ts';
import { callObject } from './call-object.ts';
import type { AppEnv } from './env.ts';
import { secretsOf } from './gate.ts';
import { Problem } from './problem.ts';
import { requireBucket } from './require-bucket.ts';

const listedAccount = z
  .object({ id: z.string(), name: z.string(), created_at: z.int(), suspended_at: z.int().nullable() })
  .openapi('ListedAccount');

const suspendBody = z.strictObject({
  running: z.enum(['finish', 'cancel']).openapi({ description: 'what becomes of the jobs under way' }),
});
const changeBody = z.strictObject({
  name: name.optional(),
  limits: someLimits.optional(),
  billing: terms.optional().openapi({ description: 'what is absent stays; another mode begins anew' }),
});

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
      z.strictObject({
        name,
        limits: limits.optional(),
        billing: terms.optional(),
        jurisdiction: z.enum(JURISDICTIONS).nullable().default(null).openapi({
          description: 'where its jobs and their pictures have to stay, for good; null: anywhere',
        }),
        key_name: name.default('first'),
      }),
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
  summary: 'Change name, limits or billing of an account (admin)',
  middleware: byAdminWithBody,
  request: { params: accountParam, body: body(changeBody) },
  responses: {
    200: json(accountView, 'The account as it is now'),
    409: { description: 'Another mode needs an account without balance, holds and charges under way' },
  },
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
const getAccount = createRoute({
  method: 'get',
  path: '/v1/account',
  summary: 'The account of the key',
  middleware: byKey,
  responses: { 200: json(accountView, 'The account') },
});

export function routeAccounts(app: OpenAPIHono<AppEnv>): void {
  routeForAdmin(app);
  routeAudit(app);
  routeKeysOfAny(app);
  app.openapi(getAccount, async (c) => c.json(await viewAccount(c.env, c.var.caller.account), 200));
  routeKeys(app);
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
    const { name, limits: asked = {}, billing = {}, jurisdiction, key_name } = c.req.valid('json');
    requireBucket(c.env, jurisdiction);
    const id = newAccountId();
    const key = await makeKey(secretsOf(c.env), id, placeIn(jurisdiction));
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
      jurisdiction,
      key: kept,
    };
    await callObject(c.env.ACCOUNTS, id, (stub) => stub.open(account));
    return c.json({ account: await viewAccount(c.env, id), key: viewNewKey(key, kept) }, 201);
  });

  app.openapi(showAccount, async (c) => c.json(await viewAccount(c.env, c.req.valid('param').account), 200));

  app.openapi(changeAccount, async (c) => {
    const { account } = c.req.valid('param');
    const { name, limits: asked = {}, billing } = c.req.valid('json');
    const changes = {
      ...(name !== undefined && { name }),
      limits: givenLimits(asked),
      ...(billing && { terms: termsOf(billing, await readTerms(c.env, account)) }),
    };
    if ((await inAccount(c, account, (stub) => stub.change(changes, actorOf(c)))) === 'not_settled')
      throw new Problem({
        status: 409,
        code: 'account_not_settled',
        detail:
          'billing.mode: the account has a balance, holds or charges that a meter has not taken; another mode needs a balance of 0 and none of these.',
      });
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
}
