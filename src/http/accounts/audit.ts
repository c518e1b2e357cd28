/** The audit trail of an account, for the admin of the deployment and for keys of the account. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { AuditEntry } from '../../account/account.ts';
import { callObject } from '../call-object.ts';
import type { AppEnv } from '../env.ts';
import { viewAccount } from './account.ts';
import { accountParam, byAdmin, byKey, inAccount, json, page, pageQuery, readPage } from './wire.ts';

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

const auditOfAny = createRoute({
  method: 'get',
  path: '/v1/accounts/{account}/audit',
  summary: 'Who did what to an account, oldest first (admin)',
  middleware: byAdmin,
  request: { params: accountParam, query: pageQuery },
  responses: { 200: json(page(auditEntry), 'A page') },
});
const getAudit = createRoute({
  method: 'get',
  path: '/v1/account/audit',
  summary: 'Who did what to the account, oldest first',
  middleware: byKey,
  request: { query: pageQuery },
  responses: { 200: json(page(auditEntry), 'A page') },
});

const viewEntry = ({ detail, ...entry }: AuditEntry): z.infer<typeof auditEntry> => ({
  ...entry,
  detail: Object.fromEntries(
    Object.entries(detail).map(([field, value]) => [field, Array.isArray(value) ? [...value] : value]),
  ) as z.infer<typeof auditEntry>['detail'],
});

export function routeAudit(app: OpenAPIHono<AppEnv>): void {
  app.openapi(auditOfAny, async (c) => {
    const { account } = c.req.valid('param');
    await viewAccount(c.env, account);
    const read = (query: { after: number; limit: number }) => inAccount(c, account, (stub) => stub.audit(query));
    return c.json(await readPage(c.req.valid('query'), read, viewEntry), 200);
  });

  app.openapi(getAudit, async (c) => {
    const { account } = c.var.caller;
    const read = (query: { after: number; limit: number }) =>
      callObject(c.env.ACCOUNTS, account, (stub) => stub.audit(query));
    return c.json(await readPage(c.req.valid('query'), read, viewEntry), 200);
  });
}
