/** Money of an account: posted by the admin of the deployment, read as a statement. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { ENTRY_KINDS, type Posting, type StoredEntry } from '../billing/ledger.ts';
import { formatUsd, parseUsd, USD } from '../billing/money.ts';
import { changeOf, type StatementLine, statementLines } from '../billing/statement.ts';
import type { Posted } from '../job/rpc.ts';
import {
  accountNotFound,
  accountParam,
  body,
  byAdmin,
  byAdminWithBody,
  byKey,
  inAccount,
  json,
  page,
  place,
} from './accounts/wire.ts';
import { actorOf } from './auth.ts';
import { csv, csvResponse } from './csv.ts';
import type { AppEnv } from './env.ts';
import { badField, Problem } from './problem.ts';
import { publicBase } from './public-address.ts';

const SIGNED_USD = new RegExp(`^-?(?:${USD.source.slice(1, -1)})$`);
/** Ids that jobs give their entries. */
const OF_JOBS = /^(?:hold|end):/;
const ID = /^[\w.:-]{1,200}$/;
const ID_RULE = 'must have 1 to 200 letters, digits, and . : _ -, and not begin with hold: or end:';

const postingBody = z.strictObject({
  id: z.string().max(300).optional().openapi({
    description: 'the same id is the same posting, written once; made where absent, also taken from Idempotency-Key',
  }),
  kind: z.enum(['top_up', 'refund', 'adjustment']),
  amount_usd: z
    .string()
    .max(20)
    .regex(SIGNED_USD, 'must be an amount in dollars as text, such as "12.50"')
    .openapi({ description: 'above 0; an adjustment below 0 takes', example: '12.50' }),
  job: z
    .string()
    .min(1)
    .max(100)
    .optional()
    .openapi({ description: 'of a refund: the job whose charge is given back' }),
  reason: z.string().min(1).max(500).optional(),
});
const statementQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  after: place.optional(),
  format: z.enum(['json', 'csv']).default('json'),
});

const entryFields = {
  seq: z.int(),
  id: z.string(),
  at: z.int().openapi({ description: 'milliseconds since 1970' }),
  kind: z.enum(ENTRY_KINDS),
  amount_usd: z.string().openapi({ description: 'what it added to the balance; below 0: took', example: '-0.000068' }),
  held_usd: z.string().openapi({ description: 'what it added to what is held; below 0: let go' }),
  job: z.string().nullable(),
  reason: z.string().nullable(),
};
const entryView = z.object(entryFields).openapi('LedgerEntry');
const lineView = z
  .object({
    ...entryFields,
    balance_after_usd: z.string(),
    held_after_usd: z.string(),
  })
  .openapi('StatementLine');
type LineView = z.infer<typeof lineView>;

const statementResponses = {
  200: {
    description: 'A page; as CSV its `link` header names the next',
    content: { 'application/json': { schema: page(lineView) }, 'text/csv': { schema: z.string() } },
  },
};
const postMoney = createRoute({
  method: 'post',
  path: '/v1/accounts/{account}/ledger',
  summary: 'Top up, refund or adjust, once for each id (admin)',
  middleware: byAdminWithBody,
  request: {
    params: accountParam,
    headers: z.object({ 'idempotency-key': z.string().optional().openapi({ description: 'another place for `id`' }) }),
    body: body(postingBody),
  },
  responses: {
    200: json(entryView, 'It was written before'),
    201: json(entryView, 'It is written now'),
    402: { description: 'The account has less than is to be taken' },
    409: { description: 'Another posting came before under the id' },
  },
});
const statementOfAny = createRoute({
  method: 'get',
  path: '/v1/accounts/{account}/ledger',
  summary: 'The statement of an account, oldest first (admin)',
  middleware: byAdmin,
  request: { params: accountParam, query: statementQuery },
  responses: statementResponses,
});
const getStatement = createRoute({
  method: 'get',
  path: '/v1/account/ledger',
  summary: 'The statement of the account, oldest first',
  middleware: byKey,
  request: { query: statementQuery },
  responses: statementResponses,
});

/** The id of a posting, given in one place or in both alike. Throws a 400 Problem. */
function idOf(c: Context<AppEnv>, given: string | undefined): string {
  const header = c.req.header('idempotency-key');
  const quoted = header === undefined ? undefined : (/^"(.*)"$/.exec(header)?.[1] ?? header);
  if (given !== undefined && quoted !== undefined && given !== quoted)
    throw badField('id', given, `must be the Idempotency-Key ${JSON.stringify(quoted)} where both are sent`);
  const id = given ?? quoted ?? `post_${crypto.randomUUID()}`;
  if (!ID.test(id) || OF_JOBS.test(id)) throw badField(given === undefined ? 'idempotency-key' : 'id', id, ID_RULE);
  return id;
}

/** What is to be posted. Throws a 400 Problem. */
function postingOf(id: string, { kind, amount_usd, job, reason }: z.infer<typeof postingBody>): Posting {
  const isBelow = amount_usd.startsWith('-');
  const micro = parseUsd(isBelow ? amount_usd.slice(1) : amount_usd);
  if (micro === 0) throw badField('amount_usd', amount_usd, 'must not be 0');
  if (isBelow && kind !== 'adjustment')
    throw badField('amount_usd', amount_usd, `must be above 0 in a ${kind}; an adjustment takes`);
  if (kind === 'refund' && job === undefined) throw badField('job', job, 'must name the job that is refunded');
  if (kind !== 'refund' && job !== undefined) throw badField('job', job, `belongs to a refund, not to a ${kind}`);
  return { id, kind, amount: isBelow ? -micro : micro, job: job ?? null, reason: reason ?? null };
}

function refusal(posted: Exclude<Posted, { kind: 'posted' }>, id: string, amountUsd: string): Problem {
  switch (posted.kind) {
    case 'conflict':
      return new Problem({
        status: 409,
        code: 'posting_conflict',
        detail: `id: got "${id}"; another posting came before under it, so a new one needs a new id.`,
      });
    case 'not_enough':
      return new Problem({
        status: 402,
        code: 'insufficient_credit',
        detail: `amount_usd: got "${amountUsd}"; the account has ${formatUsd(posted.available)} USD that may be taken.`,
        headers: { 'x-should-retry': 'false' },
      });
    case 'not_charged':
      return badField(
        'amount_usd',
        amountUsd,
        `must be at most ${formatUsd(posted.refundable)}, which the job was charged and not given back`,
        'not_charged',
      );
    case 'too_large':
      return badField('amount_usd', amountUsd, 'must leave sums of at most 8 billion dollars', 'too_large');
  }
}

const viewPosted = ({ seq, id, at, kind, job, reason, ...entry }: StoredEntry): z.infer<typeof entryView> => {
  const { balance, held } = changeOf({ kind, ...entry }, 0);
  return { seq, id, at, kind, amount_usd: formatUsd(balance), held_usd: formatUsd(held), job, reason };
};
const viewLine = ({ seq, id, at, kind, job, reason, change, heldChange, after }: StatementLine): LineView => ({
  seq,
  id,
  at,
  kind,
  amount_usd: formatUsd(change),
  held_usd: formatUsd(heldChange),
  job,
  reason,
  balance_after_usd: formatUsd(after.balance),
  held_after_usd: formatUsd(after.held),
});

const COLUMNS = [
  'seq',
  'time',
  'id',
  'kind',
  'amount_usd',
  'held_usd',
  'balance_after_usd',
  'held_after_usd',
  'job',
  'reason',
] as const satisfies readonly (keyof LineView | 'time')[];

/** A page of the statement of an account. Throws a 404 Problem where there is none. */
async function answerStatement(
  c: Context<AppEnv>,
  account: string,
  { limit, after, format }: z.infer<typeof statementQuery>,
) {
  const asked = { after: Number(after ?? 0), limit: limit + 1 };
  const statement = await inAccount(c, account, (stub) => stub.statement(asked));
  if (!statement) throw accountNotFound();
  const lines = statementLines(statement).map(viewLine);
  const data = lines.slice(0, limit);
  const hasMore = lines.length > limit;
  const cursor = hasMore ? String(data.at(-1)?.seq) : null;
  if (format === 'json') return c.json({ object: 'list' as const, data, has_more: hasMore, next_cursor: cursor }, 200);
  const rows = data.map((line) =>
    COLUMNS.map((column) => (column === 'time' ? new Date(line.at).toISOString() : line[column])),
  );
  return csvResponse(csv(COLUMNS, rows), `statement-${account}`, nextPage(c, cursor));
}

/** The address of this list after `cursor`. */
export function nextPage(c: Context<AppEnv>, cursor: string | null): string | null {
  if (cursor === null) return null;
  const next = new URL(c.req.url);
  next.searchParams.set('after', cursor);
  return `${publicBase(c.env, c.req.url)}${c.req.path}${next.search}`;
}

export function routeLedger(app: OpenAPIHono<AppEnv>): void {
  app.openapi(postMoney, async (c) => {
    const { account } = c.req.valid('param');
    const asked = c.req.valid('json');
    const posting = postingOf(idOf(c, asked.id), asked);
    const posted = await inAccount(c, account, (stub) => stub.post(posting, actorOf(c)));
    if (!posted) throw accountNotFound();
    if (posted.kind !== 'posted') throw refusal(posted, posting.id, asked.amount_usd);
    return posted.isNew ? c.json(viewPosted(posted.entry), 201) : c.json(viewPosted(posted.entry), 200);
  });

  app.openapi(statementOfAny, (c) => answerStatement(c, c.req.valid('param').account, c.req.valid('query')));
  app.openapi(getStatement, (c) => answerStatement(c, c.var.caller.account, c.req.valid('query')));
}
