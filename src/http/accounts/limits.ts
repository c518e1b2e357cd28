/** What an account may do and spend, and how it pays, as they are asked for and shown. */
import { z } from '@hono/zod-openapi';
import {
  type AccountLimits,
  type Balance,
  DEFAULT_LIMITS,
  PREPAID,
  type Terms,
  UNLIMITED,
} from '../../account/account.ts';
import { formatUsd, parseUsd } from '../../billing/money.ts';
import { MAX_STEPS } from '../../job/schedule-request.ts';
import { badField } from '../problem.ts';
import { tflops, usd, usdOrNull } from './wire.ts';

const spend = (whose: string) =>
  usd.nullable().openapi({ description: `what ${whose} may spend (UTC); null: as much as there is`, example: '25' });
export const limitFields = {
  images_per_minute: z.int().min(1).max(100_000),
  concurrent_jobs: z.int().min(1).max(10_000),
  tflops_per_minute: tflops.openapi({
    description: 'work that may begin in a minute; null: as much as images_per_minute plain pictures of the model',
  }),
  tflops_per_image: tflops.openapi({ description: 'null: as much as 4 plain pictures of the model' }),
  steps_per_image: z.int().min(1).max(MAX_STEPS),
  usd_per_day: spend('the account in a day'),
  usd_per_month: spend('the account in a month'),
  usd_per_user_day: spend('each `user` in a day'),
  usd_per_user_month: spend('each `user` in a month'),
};
export const limits = z.strictObject({
  images_per_minute: limitFields.images_per_minute.default(DEFAULT_LIMITS.imagesPerMinute),
  concurrent_jobs: limitFields.concurrent_jobs.default(DEFAULT_LIMITS.concurrentJobs),
  tflops_per_minute: limitFields.tflops_per_minute.default(null),
  tflops_per_image: limitFields.tflops_per_image.default(null),
  steps_per_image: limitFields.steps_per_image.default(DEFAULT_LIMITS.stepsPerImage),
  usd_per_day: limitFields.usd_per_day.default(null),
  usd_per_month: limitFields.usd_per_month.default(null),
  usd_per_user_day: limitFields.usd_per_user_day.default(null),
  usd_per_user_month: limitFields.usd_per_user_month.default(null),
});
export const someLimits = z.strictObject(limitFields).partial();

export const viewLimits = (of: AccountLimits): z.infer<typeof limits> => ({
  images_per_minute: of.imagesPerMinute,
  concurrent_jobs: of.concurrentJobs,
  tflops_per_minute: of.tflopsPerMinute,
  tflops_per_image: of.tflopsPerImage,
  steps_per_image: of.stepsPerImage,
  usd_per_day: usdOrNull(of.microUsdPerDay),
  usd_per_month: usdOrNull(of.microUsdPerMonth),
  usd_per_user_day: usdOrNull(of.microUsdPerUserDay),
  usd_per_user_month: usdOrNull(of.microUsdPerUserMonth),
});

export const microOrNull = (text: string | null): number | null => (text === null ? null : parseUsd(text));

/** Those of the limits that are given. Law: of all of them, `viewLimits` of it is what was given. */
export const givenLimits = (of: z.infer<typeof someLimits>): Partial<AccountLimits> => ({
  ...(of.images_per_minute !== undefined && { imagesPerMinute: of.images_per_minute }),
  ...(of.concurrent_jobs !== undefined && { concurrentJobs: of.concurrent_jobs }),
  ...(of.tflops_per_minute !== undefined && { tflopsPerMinute: of.tflops_per_minute }),
  ...(of.tflops_per_image !== undefined && { tflopsPerImage: of.tflops_per_image }),
  ...(of.steps_per_image !== undefined && { stepsPerImage: of.steps_per_image }),
  ...(of.usd_per_day !== undefined && { microUsdPerDay: microOrNull(of.usd_per_day) }),
  ...(of.usd_per_month !== undefined && { microUsdPerMonth: microOrNull(of.usd_per_month) }),
  ...(of.usd_per_user_day !== undefined && { microUsdPerUserDay: microOrNull(of.usd_per_user_day) }),
  ...(of.usd_per_user_month !== undefined && { microUsdPerUserMonth: microOrNull(of.usd_per_user_month) }),
});

export const balanceView = z
  .object({
    mode: z.enum(['prepaid', 'postpaid']),
    balance_usd: z.string().openapi({ description: 'paid in and not used; below 0: owed', example: '9.993120' }),
    held_usd: z.string().openapi({ description: 'of that, held for jobs under way' }),
    available_usd: z.string().nullable().openapi({ description: 'what further jobs may cost; null: no limit' }),
    credit_limit_usd: z.string().nullable(),
    stripe_customer: z.string().nullable(),
  })
  .openapi('Balance');
export const viewBalance = (of: Balance): z.infer<typeof balanceView> => ({
  mode: of.mode,
  balance_usd: formatUsd(of.balance),
  held_usd: formatUsd(of.held),
  available_usd: usdOrNull(of.available),
  credit_limit_usd: usdOrNull(of.creditLimit),
  stripe_customer: of.stripeCustomer,
});

export const terms = z
  .strictObject({
    mode: z.enum(['prepaid', 'postpaid']).openapi({ description: 'pays ahead, or afterwards' }),
    credit_limit_usd: usd.nullable().openapi({ description: 'what a postpaid account may owe; null: no limit' }),
    stripe_customer: z
      .string()
      .regex(/^cus_\w{1,100}$/, 'must be the id of a customer at Stripe')
      .nullable()
      .openapi({ description: 'whom a meter at Stripe bills for a postpaid account; null: none is told' }),
  })
  .partial();

const OF_POSTPAID = 'belongs to a postpaid account; this one is prepaid';

/**
 * Terms as they are once these are given: what is absent stays, unless the mode changes. Throws a 400 Problem for what
 * a prepaid account cannot have. Law: what `viewBalance` shows of terms, given again, changes nothing.
 */
export function termsOf({ mode, credit_limit_usd, stripe_customer }: z.infer<typeof terms>, before: Terms): Terms {
  const now = mode ?? before.mode;
  if (now === 'prepaid') {
    if (credit_limit_usd !== undefined && (credit_limit_usd === null || parseUsd(credit_limit_usd) > 0))
      throw badField('billing.credit_limit_usd', credit_limit_usd, OF_POSTPAID);
    if (stripe_customer) throw badField('billing.stripe_customer', stripe_customer, OF_POSTPAID);
    return PREPAID;
  }
  const begun = now === before.mode ? before : UNLIMITED;
  return {
    mode: now,
    creditLimit: credit_limit_usd === undefined ? begun.creditLimit : microOrNull(credit_limit_usd),
    stripeCustomer: stripe_customer === undefined ? begun.stripeCustomer : stripe_customer,
  };
}
