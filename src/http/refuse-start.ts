/** Why an account did not let jobs begin, as the caller hears it. */
import type { Started } from '../account/account.ts';
import type { RateState } from '../account/rate.ts';
import { formatUsd } from '../billing/money.ts';
import { KEY_FAULTS, lacks, refuse } from './auth.ts';
import { Problem } from './problem.ts';

/** A number for people, in three figures. */
const figures = (value: number): string => String(Number(value.toPrecision(3)));

/** Seconds for `retry-after`: never sooner than it would pass. */
const wholeSeconds = (ms: number): string => String(Math.max(1, Math.ceil(ms / 1000)));

/** What OpenAI's clients read of the key's images a minute. */
export function rateHeaders({ limit, remaining, resetMs }: RateState): Record<string, string> {
  return {
    'x-ratelimit-limit-requests': String(limit),
    'x-ratelimit-remaining-requests': String(remaining),
    'x-ratelimit-reset-requests': `${resetMs}ms`,
  };
}

/** A 402: asking again changes nothing until money comes, or a new day. */
const unpaid = (
  code: string,
  detail: string,
  { needed, available }: { readonly needed: number; readonly available: number },
): Problem =>
  new Problem({
    status: 402,
    code,
    detail,
    headers: {
      'x-should-retry': 'false',
      'x-ralu-quote-usd': formatUsd(needed),
      'x-ralu-available-usd': formatUsd(available),
    },
  });

/** The Problem of a request for `count` images that was refused. */
export function refusal(started: Exclude<Started, { kind: 'new' | 'again' }>, count: number): Problem {
  switch (started.kind) {
    case 'key_out':
      return refuse(KEY_FAULTS[started.refusal]);
    case 'key_lacks':
      return lacks(started.scope);
    case 'suspended':
      return new Problem({
        status: 403,
        code: 'account_suspended',
        detail: 'The account is suspended: it takes no new work.',
      });
    case 'conflict':
      return new Problem({
        status: 422,
        code: 'idempotency_mismatch',
        detail: 'This Idempotency-Key came before with another request; a new request needs a new key.',
      });
    case 'rate_limited': {
      const { retryMs, rate } = started;
      if (retryMs === Number.POSITIVE_INFINITY)
        return new Problem({
          status: 429,
          code: 'rate_limit',
          detail: `One request may ask for at most ${rate.limit} images with this key.`,
          headers: { ...rateHeaders(rate), 'x-should-retry': 'false' },
        });
      return new Problem({
        status: 429,
        code: 'rate_limit',
        detail: `The key may ask for ${rate.limit} images a minute; come back in ${wholeSeconds(retryMs)} s.`,
        headers: { ...rateHeaders(rate), 'retry-after': wholeSeconds(retryMs), 'retry-after-ms': String(retryMs) },
      });
    }
    case 'image_too_large': {
      const { what, asked, limit } = started;
      return new Problem({
        status: 400,
        code: 'image_too_large',
        detail: `One image of this account may have at most ${figures(limit)} ${what}; this request asks for ${figures(asked)}.`,
      });
    }
    case 'out_of_budget': {
      const { whose, retryMs, budget } = started;
      return new Problem({
        status: 429,
        code: 'rate_limit',
        detail: `The ${whose} may begin ${figures(budget.limit)} TFLOPs of work a minute; come back in ${wholeSeconds(retryMs)} s.`,
        headers: {
          'x-ratelimit-limit-tflops': figures(budget.limit),
          'x-ratelimit-remaining-tflops': figures(budget.remaining),
          'x-ratelimit-reset-tflops': `${budget.resetMs}ms`,
          'retry-after': wholeSeconds(retryMs),
          'retry-after-ms': String(retryMs),
        },
      });
    }
    case 'out_of_credit':
      return unpaid(
        'insufficient_credit',
        `The request may cost ${formatUsd(started.needed)} USD, and the account has ${formatUsd(started.available)} USD left.`,
        { needed: started.needed, available: started.available },
      );
    case 'over_spend_limit': {
      const { whose, period, needed, spent, limit } = started;
      const of = whose === 'user' ? 'This user' : `The ${whose}`;
      return unpaid(
        'spend_limit',
        `${of} may spend ${formatUsd(limit)} USD a ${period} (UTC) and has spent ${formatUsd(spent)}; the request may cost ${formatUsd(needed)} USD.`,
        { needed, available: Math.max(0, limit - spent) },
      );
    }
    case 'too_many_jobs': {
      const { open, limit, rate } = started;
      if (count > limit)
        return new Problem({
          status: 429,
          code: 'too_many_jobs',
          detail: `One request may start at most ${limit} jobs in this account.`,
          headers: { ...rateHeaders(rate), 'x-should-retry': 'false' },
        });
      return new Problem({
        status: 429,
        code: 'too_many_jobs',
        detail: `The account has ${open} jobs under way and may have ${limit}; come back when one has ended.`,
        headers: { ...rateHeaders(rate), 'retry-after': '1' },
      });
    }
  }
}
