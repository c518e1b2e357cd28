/** What the routes of accounts share: who is let in, parts of their contracts, pages, and the way into an account. */
import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { ACCOUNT_ID } from '../../account/key.ts';
import { formatUsd, USD } from '../../billing/money.ts';
import type { AccountCalls, Remote } from '../../job/rpc.ts';
import { requireAdmin, requireKey } from '../auth.ts';
import { callObject } from '../call-object.ts';
import type { AppEnv } from '../env.ts';
import { Problem } from '../problem.ts';
import { limitBody, requireJson } from '../request-body.ts';

export const byAdmin = [requireAdmin];
export const byAdminWithBody = [requireAdmin, limitBody, requireJson];
export const byKey = [requireKey];
export const byKeyWithBody = [requireKey, limitBody, requireJson];

export const name = z.string().min(1).max(100);
/** above any image of any model; an image that has no work stated costs nothing */
export const tflops = z.number().positive().max(1e9).nullable();
export const usd = z.string().regex(USD, 'must be an amount in dollars as text, such as "12.50"');
export const accountParam = z.object({ account: z.string().openapi({ example: 'acct_0123456789abcdef' }) });

export const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { 'application/json': { schema } },
});
export const body = <T extends z.ZodType>(schema: T) => ({
  required: true,
  content: { 'application/json': { schema } },
});
export const page = <T extends z.ZodType>(entry: T) =>
  z.object({
    object: z.literal('list'),
    data: z.array(entry),
    has_more: z.boolean(),
    next_cursor: z.string().nullable(),
  });
/** A place in a list, as `next_cursor` names it. */
export const place = z.string().regex(/^\d{1,15}$/, 'must be the next_cursor of an earlier page');
export const pageQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(100).default(50),
  after: place.optional(),
});

export const seconds = (ms: number): number => Math.floor(ms / 1000);
export const secondsOrNull = (ms: number | null): number | null => (ms === null ? null : seconds(ms));
export const usdOrNull = (micro: number | null): string | null => (micro === null ? null : formatUsd(micro));

export const accountNotFound = (): Problem =>
  new Problem({ status: 404, code: 'account_not_found', detail: 'There is no account of that id.' });

/** Asks for one entry more than a page has, which tells whether there are more. */
export async function readPage<T extends { readonly seq: number }, V>(
  { limit, after }: { readonly limit: number; readonly after?: string | undefined },
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
export function inAccount<R>(
  c: Context<AppEnv>,
  id: string,
  call: (account: Remote<AccountCalls>) => Promise<R>,
): Promise<R> {
  if (!ACCOUNT_ID.test(id)) throw accountNotFound();
  return callObject(c.env.ACCOUNTS, id, call);
}
