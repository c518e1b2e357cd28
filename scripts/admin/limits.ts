/** Limits and terms of an account, and amounts of money, as they are typed. Pure. */
import { USD } from '../../src/billing/money.ts';
import { number, oneOf, UsageError, wholeNumber } from '../local/command-line.ts';

export interface Limits {
  readonly images_per_minute?: number;
  readonly concurrent_jobs?: number;
  readonly tflops_per_minute?: number | null;
  readonly tflops_per_image?: number | null;
  readonly steps_per_image?: number;
  readonly usd_per_day?: string | null;
  readonly usd_per_month?: string | null;
  readonly usd_per_user_day?: string | null;
  readonly usd_per_user_month?: string | null;
}

export interface Billing {
  readonly mode?: 'prepaid' | 'postpaid';
  readonly credit_limit_usd?: string | null;
  readonly stripe_customer?: string | null;
}

/** What was typed after a flag; null: it was not. */
export type TextOf = (flag: string) => string | null;

const MAX_TFLOPS = 1e9;

/** An amount of dollars above 0, as typed. Throws UsageError. */
export function amountOf(flag: string, text: string): string {
  if (!USD.test(text) || Number(text) === 0)
    throw new UsageError(`${flag} must be an amount of dollars above 0 such as 12.50, got "${text}"`);
  return text;
}

/** What an account may owe or spend: 0 too, and null for none. */
function limitOf(flag: string, text: string): string | null {
  if (text === 'none') return null;
  if (!USD.test(text))
    throw new UsageError(`${flag} must be an amount of dollars such as 12.50, or none, got "${text}"`);
  return text;
}

/** Limits of spending that are given. Throws UsageError. */
export const spendLimitsOf = (text: TextOf): Limits =>
  Object.fromEntries(
    (['usd-per-day', 'usd-per-month', 'usd-per-user-day', 'usd-per-user-month'] as const).flatMap((flag) => {
      const typed = text(flag);
      return typed === null ? [] : [[flag.replaceAll('-', '_'), limitOf(`--${flag}`, typed)]];
    }),
  );

/** Terms that are given. Throws UsageError. */
export function billingOf(text: TextOf): Billing {
  const [mode, credit, customer] = [text('billing'), text('credit-limit'), text('stripe-customer')];
  return {
    ...(mode !== null && { mode: oneOf('--billing', mode, ['prepaid', 'postpaid']) }),
    ...(credit !== null && { credit_limit_usd: limitOf('--credit-limit', credit) }),
    ...(customer !== null && { stripe_customer: customer === 'none' ? null : customer }),
  };
}

/** Limits that are given. Throws UsageError. */
export function limitsOf(text: TextOf): Limits {
  const [images, jobs, perMinute, perImage, steps] = [
    text('images-per-minute'),
    text('concurrent-jobs'),
    text('tflops-per-minute'),
    text('tflops-per-image'),
    text('steps-per-image'),
  ];
  const work = (flag: string, value: string): number | null =>
    value === 'auto' ? null : positive(flag, value, MAX_TFLOPS);
  return {
    ...spendLimitsOf(text),
    ...(images !== null && {
      images_per_minute: wholeNumber('--images-per-minute', images, { min: 1, max: 100_000 }),
    }),
    ...(jobs !== null && { concurrent_jobs: wholeNumber('--concurrent-jobs', jobs, { min: 1, max: 10_000 }) }),
    ...(perMinute !== null && { tflops_per_minute: work('--tflops-per-minute', perMinute) }),
    ...(perImage !== null && { tflops_per_image: work('--tflops-per-image', perImage) }),
    ...(steps !== null && { steps_per_image: wholeNumber('--steps-per-image', steps, { min: 1, max: 1000 }) }),
  };
}

/** A number above 0. Throws UsageError. */
export function positive(flag: string, text: string, max: number): number {
  const value = number(flag, text);
  if (value <= 0 || value > max) throw new UsageError(`${flag} must be above 0 and at most ${max}, got "${text}"`);
  return value;
}
