/** An account as its holders see it. */
import { z } from '@hono/zod-openapi';
import type { AccountView, Terms } from '../../account/account.ts';
import { ACCOUNT_ID } from '../../account/key.ts';
import { JURISDICTIONS, type Jurisdiction } from '../../account/place.ts';
import { callObject } from '../call-object.ts';
import type { Env } from '../env.ts';
import { balanceView, limits, viewBalance, viewLimits } from './limits.ts';
import { accountNotFound, seconds, secondsOrNull } from './wire.ts';

export const accountView = z
  .object({
    id: z.string(),
    object: z.literal('account'),
    name: z.string(),
    created_at: z.int(),
    suspended_at: z.int().nullable(),
    limits,
    billing: balanceView,
    jurisdiction: z
      .enum(JURISDICTIONS)
      .nullable()
      .openapi({ description: 'where its jobs and their pictures stay, as it was opened; null: anywhere' }),
    open_jobs: z.int(),
    is_erasing: z.boolean().openapi({ description: 'its jobs are being erased, as was asked' }),
  })
  .openapi('Account');

/** How an account pays. Throws a 404 Problem where there is none. */
export async function readTerms(env: Env, id: string): Promise<Terms> {
  const { mode, creditLimit, stripeCustomer } = (await findAccount(env, id)).balance;
  return { mode, creditLimit, stripeCustomer };
}

/** Where the jobs of an account stay. Throws a 404 Problem where there is none. */
export const readJurisdiction = async (env: Env, id: string): Promise<Jurisdiction | null> =>
  (await findAccount(env, id)).jurisdiction;

/** The account as its object has it. Throws a 404 Problem where there is none. */
async function findAccount(env: Env, id: string): Promise<AccountView> {
  const found = ACCOUNT_ID.test(id) && (await callObject(env.ACCOUNTS, id, (account) => account.view()));
  if (!found) throw accountNotFound();
  return found;
}

/** The account as its holder sees it. Throws a 404 Problem where there is none. */
export async function viewAccount(env: Env, id: string): Promise<z.infer<typeof accountView>> {
  const found = await findAccount(env, id);
  return {
    id,
    object: 'account',
    name: found.name,
    created_at: seconds(found.createdAt),
    suspended_at: secondsOrNull(found.suspendedAt),
    limits: viewLimits(found.limits),
    billing: viewBalance(found.balance),
    jurisdiction: found.jurisdiction,
    open_jobs: found.openJobs,
    is_erasing: found.isErasing,
  };
}
