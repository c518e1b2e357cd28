/** Whether ledger, jobs and outbox of an account agree: asked by the admin of the deployment, a page at a time. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { DIFFERENCES, type DifferenceKind } from '../billing/difference.ts';
import { accountNotFound, accountParam, byAdmin, inAccount, json, place } from './accounts/wire.ts';
import type { AppEnv } from './env.ts';

const kind = z.enum(Object.keys(DIFFERENCES) as [DifferenceKind, ...DifferenceKind[]]);
const reconcileAccount = createRoute({
  method: 'post',
  path: '/v1/accounts/{account}/reconcile',
  summary: 'Compare ledger, jobs and outbox of an account, and name every difference (admin)',
  middleware: byAdmin,
  request: { params: accountParam, query: z.strictObject({ after: place.optional() }) },
  responses: {
    200: json(
      z
        .object({
          object: z.literal('list'),
          data: z.array(
            z.object({
              kind,
              subject: z.string().openapi({ description: 'the job, the entry or the column that it is about' }),
              expected: z.string(),
              found: z.string(),
              says: z.string(),
            }),
          ),
          more: z.array(kind).openapi({ description: 'kinds of which there are more than are named' }),
          jobs: z.int().openapi({ description: 'jobs that were asked for this page' }),
          has_more: z.boolean(),
          next_cursor: z.string().nullable(),
        })
        .openapi('Reconciliation'),
      'A page: the rows with the first, the jobs over all',
    ),
  },
});

export function routeReconcile(app: OpenAPIHono<AppEnv>): void {
  app.openapi(reconcileAccount, async (c) => {
    const { account } = c.req.valid('param');
    const { after = '0' } = c.req.valid('query');
    const found = await inAccount(c, account, (stub) => stub.reconcile(Number(after)));
    if (!found) throw accountNotFound();
    return c.json(
      {
        object: 'list' as const,
        data: found.differences.map((difference) => ({ ...difference, says: DIFFERENCES[difference.kind] })),
        more: [...found.more],
        jobs: found.jobs,
        has_more: found.next !== null,
        next_cursor: found.next === null ? null : String(found.next),
      },
      200,
    );
  });
}
