/** The ledger of an account read out to be kept elsewhere, and put back: by the admin of the deployment, in pages. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import {
  BACKUP_PARTS,
  BACKUP_ROWS,
  type BackupPart,
  ledgerSums,
  type Restored,
  type RestorePage,
} from '../billing/backup.ts';
import { accountNotFound, accountParam, body, byAdmin, byAdminWithBody, inAccount, json } from './accounts/wire.ts';
import { actorOf } from './auth.ts';
import type { AppEnv } from './env.ts';
import { badField, Problem } from './problem.ts';

const AFTER_RULE = 'must be the next_cursor of an earlier page of this part';
const backupQuery = z.strictObject({
  part: z.enum(BACKUP_PARTS),
  after: z.string().min(1).max(2000).optional(),
  limit: z.coerce.number().int().min(1).max(500).default(200),
});
const sums = z.looseObject({}).openapi({ description: 'place of the last entry, numbers of rows, and the columns' });
const restoreBody = z.strictObject({
  part: z.enum([...BACKUP_PARTS, 'end']),
  rows: z
    .array(z.string().max(10_000))
    .max(100)
    .optional()
    .openapi({ description: 'rows of the part, in order, each as JSON in the form in which they were read' }),
  ledger: ledgerSums,
});

const readBackup = createRoute({
  method: 'get',
  path: '/v1/accounts/{account}/backup',
  summary: 'Rows of the ledger to be kept elsewhere; amounts are micro-dollars (admin)',
  middleware: byAdmin,
  request: { params: accountParam, query: backupQuery },
  responses: {
    200: json(
      z
        .object({
          object: z.literal('list'),
          ledger: sums,
          data: z.array(z.looseObject({})),
          has_more: z.boolean(),
          next_cursor: z.string().nullable(),
        })
        .openapi('Backup'),
      'A page',
    ),
  },
});
const restoreBackup = createRoute({
  method: 'post',
  path: '/v1/accounts/{account}/backup',
  summary: 'Put rows back into a suspended account: entries, charges, usage, then the end (admin)',
  middleware: byAdminWithBody,
  request: { params: accountParam, body: body(restoreBody) },
  responses: {
    200: json(z.object({ written: z.int() }), 'How many rows were new; of the end: holds let go'),
    409: { description: 'The account is not suspended, has open jobs, or has other rows in these places' },
  },
});

/** Whether a text is a place in a part. */
function isPlace(part: BackupPart, after: string): boolean {
  if (part === 'entries') return /^\d{1,15}$/.test(after);
  if (part === 'charges') return true;
  try {
    return z.tuple([z.string(), z.string(), z.string()]).safeParse(JSON.parse(after)).success;
  } catch {
    return false;
  }
}

/** What a body asks to be put back. Throws a 400 Problem that names the row. */
function pageOf({ part, rows, ledger }: z.infer<typeof restoreBody>): RestorePage {
  if (part === 'end') {
    if (rows !== undefined) throw badField('rows', `(${rows.length} rows)`, 'belongs to entries, charges and usage');
    return { part, sums: ledger };
  }
  if (rows === undefined) throw badField('rows', undefined, 'must be the rows of the part');
  return { part, rows: rows.map((row, i) => rowOf(part, row, i)), sums: ledger } as RestorePage;
}

function rowOf(part: BackupPart, text: string, index: number): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw badField(`rows.${index}`, text, 'must be JSON');
  }
  const parsed = BACKUP_ROWS[part].safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw badField([`rows.${index}`, ...(issue?.path ?? [])].join('.'), text, issue?.message ?? 'is wrong');
}

function refusal(restored: Exclude<Restored, { kind: 'restored' }>): Problem {
  const conflict = (code: string, detail: string): Problem => new Problem({ status: 409, code, detail });
  switch (restored.kind) {
    case 'not_suspended':
      return conflict('account_not_suspended', 'A ledger is restored into an account that is suspended; suspend it.');
    case 'has_open_jobs':
      return conflict(
        'account_has_open_jobs',
        `The account has ${restored.open} open jobs; wait until they have ended.`,
      );
    case 'refused':
      return conflict('ledger_conflict', `${restored.subject}: ${restored.rule}.`);
  }
}

export function routeBackup(app: OpenAPIHono<AppEnv>): void {
  app.openapi(readBackup, async (c) => {
    const { account } = c.req.valid('param');
    const { part, after = '', limit } = c.req.valid('query');
    if (after !== '' && !isPlace(part, after)) throw badField('after', after, AFTER_RULE);
    const found = await inAccount(c, account, (stub) => stub.backup({ part, after, limit }));
    if (!found) throw accountNotFound();
    return c.json(
      {
        object: 'list' as const,
        ledger: { ...found.sums },
        data: found.rows.map((row) => ({ ...row })),
        has_more: found.next !== null,
        next_cursor: found.next,
      },
      200,
    );
  });

  app.openapi(restoreBackup, async (c) => {
    const { account } = c.req.valid('param');
    const page = pageOf(c.req.valid('json'));
    const restored = await inAccount(c, account, (stub) => stub.restore(page, actorOf(c)));
    if (!restored) throw accountNotFound();
    if (restored.kind !== 'restored') throw refusal(restored);
    return c.json({ written: restored.written }, 200);
  });
}
