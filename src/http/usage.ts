/** What an account did and spent, by day, model, key or customer. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { formatUsd } from '../billing/money.ts';
import {
  DIMENSIONS,
  dayOf,
  daysOf,
  isDay,
  MAX_DAYS,
  MAX_USER,
  monthOf,
  type UsageQuery,
  type UsageTotals,
} from '../billing/spending.ts';
import { accountNotFound, accountParam, byAdmin, byKey, inAccount } from './accounts/wire.ts';
import { csv, csvResponse } from './csv.ts';
import type { AppEnv } from './env.ts';
import { nextPage } from './ledger.ts';
import { badField } from './problem.ts';

const day = z.string().openapi({ example: '2026-11-27' });
const usageQuery = z.strictObject({
  from: day.optional().openapi({ description: 'first day (UTC); the first of the current month where absent' }),
  to: day.optional().openapi({ description: `last day (UTC); today where absent; at most ${MAX_DAYS} days in all` }),
  group_by: z.enum(DIMENSIONS).default('day'),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  after: z.string().min(1).max(MAX_USER).optional().openapi({ description: 'the next_cursor of an earlier page' }),
  format: z.enum(['json', 'csv']).default('json'),
});
type Asked = z.infer<typeof usageQuery>;

const figures = {
  jobs: z.int().openapi({ description: 'that have ended, those that cost nothing included' }),
  tflops: z.number().openapi({ description: 'work that was paid' }),
  cost_usd: z.string(),
  held_usd: z.string().openapi({ description: 'held for jobs that have not ended' }),
};
const usageView = z
  .object({
    object: z.literal('usage'),
    from: day,
    to: day,
    group_by: z.enum(DIMENSIONS),
    data: z.array(z.object({ group: z.string(), ...figures })),
    totals: z.object(figures).openapi({ description: 'of the account in the period, whatever the page' }),
    has_more: z.boolean(),
    next_cursor: z.string().nullable(),
  })
  .openapi('Usage');
const responses = {
  200: {
    description: 'A page, by the names of the groups; as CSV its `link` header names the next',
    content: { 'application/json': { schema: usageView }, 'text/csv': { schema: z.string() } },
  },
};

const getUsage = createRoute({
  method: 'get',
  path: '/v1/usage',
  summary: 'What the account did and spent, by day, model, key or user',
  middleware: byKey,
  request: { query: usageQuery },
  responses,
});
const usageOfAny = createRoute({
  method: 'get',
  path: '/v1/accounts/{account}/usage',
  summary: 'What an account did and spent, by day, model, key or user (admin)',
  middleware: byAdmin,
  request: { params: accountParam, query: usageQuery },
  responses,
});

/** The question that a query asks at `now`. Throws a 400 Problem. */
function queryOf({ from, to, group_by, limit, after }: Asked, now: number): UsageQuery {
  for (const [field, text] of Object.entries({ from, to }))
    if (text !== undefined && !isDay(text)) throw badField(field, text, 'must be a day such as 2026-11-27');
  const last = to ?? dayOf(now);
  const first = from ?? monthOf(last);
  const days = daysOf(first, last);
  if (days < 1) throw badField('from', first, `must not be after to, which is ${last}`);
  if (days > MAX_DAYS) throw badField('from', first, `must be at most ${MAX_DAYS} days before to, which is ${last}`);
  return { from: first, to: last, groupBy: group_by, after: after ?? null, limit: limit + 1 };
}

const viewFigures = ({ jobs, mflop, captured, held }: UsageTotals) => ({
  jobs,
  tflops: mflop / 1e6,
  cost_usd: formatUsd(captured),
  held_usd: formatUsd(held),
});

/** Usage of an account. Throws a 404 Problem where there is none. */
async function answerUsage(c: Context<AppEnv>, account: string, asked: Asked) {
  const query = queryOf(asked, Date.now());
  const usage = await inAccount(c, account, (stub) => stub.usage(query));
  if (!usage) throw accountNotFound();
  const { from, to, groupBy } = query;
  const data = usage.rows.slice(0, asked.limit).map(({ group, ...row }) => ({ group, ...viewFigures(row) }));
  const hasMore = usage.rows.length > asked.limit;
  const cursor = hasMore ? (data.at(-1)?.group ?? null) : null;
  if (asked.format === 'csv') {
    const rows = data.map((row) => [row.group, row.jobs, row.tflops, row.cost_usd, row.held_usd]);
    const columns = [groupBy, 'jobs', 'tflops', 'cost_usd', 'held_usd'];
    return csvResponse(csv(columns, rows), `usage-${from}-${to}-${groupBy}`, nextPage(c, cursor));
  }
  return c.json(
    {
      object: 'usage' as const,
      from,
      to,
      group_by: groupBy,
      data,
      totals: viewFigures(usage.totals),
      has_more: hasMore,
      next_cursor: cursor,
    },
    200,
  );
}

export function routeUsage(app: OpenAPIHono<AppEnv>): void {
  app.openapi(getUsage, (c) => answerUsage(c, c.var.caller.account, c.req.valid('query')));
  app.openapi(usageOfAny, (c) => answerUsage(c, c.req.valid('param').account, c.req.valid('query')));
}
