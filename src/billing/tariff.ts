/** What a deployment asks for work: dollars a TFLOP, by model. Its version is frozen in the plan of every job. Pure. */
import { z } from 'zod';

/** What work of one model costs. */
export interface Rate {
  /** nano-dollars (10⁻⁹ USD) a TFLOP of 10¹² operations, attention counted */
  readonly nanoUsdPerTflop: number;
  /** least that a finished image costs, micro-dollars */
  readonly minimumMicroUsd: number;
}

export interface Tariff {
  /** name of this tariff, as receipts tell it */
  readonly version: string;
  readonly rate: Rate;
  /** models that cost otherwise, by their ids */
  readonly models: Readonly<Record<string, Rate>>;
}

const rate = z.strictObject({
  nano_usd_per_tflop: z.int().min(0).max(1e12),
  minimum_micro_usd: z.int().min(0).max(1e9),
});
const tariff = z.strictObject({
  version: z.string().min(1).max(50),
  ...rate.shape,
  models: z.record(z.string().min(1).max(200), rate).default({}),
});

const toRate = ({ nano_usd_per_tflop, minimum_micro_usd }: z.infer<typeof rate>): Rate => ({
  nanoUsdPerTflop: nano_usd_per_tflop,
  minimumMicroUsd: minimum_micro_usd,
});

/**
 * The tariff as the configuration has it; null where it is empty: nothing is charged. Throws an Error that says what is
 * wrong with it.
 */
export function readTariff(text: string | undefined): Tariff | null {
  if (!text) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error('must be JSON');
  }
  const parsed = tariff.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new Error(`has at ${issue?.path.join('.') || 'its top'}: ${issue?.message}`);
  }
  const { version, models, ...rest } = parsed.data;
  return {
    version,
    rate: toRate(rest),
    models: Object.fromEntries(Object.entries(models).map(([id, own]) => [id, toRate(own)])),
  };
}

/** What work of a model costs. */
export const rateOf = ({ rate: common, models }: Tariff, model: string): Rate =>
  Object.hasOwn(models, model) ? (models[model] as Rate) : common;
