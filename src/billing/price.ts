/**
 * What a job may cost at most, known before it exists and frozen in its plan: the rates of its tariff, and its work in
 * whole MFLOPs (10⁶ operations). A run of FLUX at 2048² has more operations than a double counts exactly, and a
 * thousandth as many digits in MFLOPs. Pure.
 */
import { type FlopFacts, stepFlops } from '../numerics/flops.ts';
import { type FemtoUsd, type MicroUsd, roundToMicro } from './money.ts';
import { type Rate, rateOf, type Tariff } from './tariff.ts';
import { PICTURES, type StageShape } from './work.ts';

/** One stage of a plan in whole MFLOPs. */
export interface PricedStage {
  /** 1, 2, …, K */
  readonly stage: number;
  readonly tokens: number;
  readonly evaluations: number;
  /** of one evaluation */
  readonly mflop: number;
  /** of what is decoded at its end */
  readonly decodeMflop: number;
}

export interface Price extends Rate {
  /** version of the tariff */
  readonly tariff: string;
  readonly stages: readonly PricedStage[];
  /** encoding a prompt as long as the model takes, and how many tokens that is */
  readonly textMflop: number;
  readonly textTokens: number;
  /** all of the model's own run at this size: denoising, one picture decoded, the text */
  readonly plainMflop: number;
  /** the most that the job costs */
  readonly quoted: MicroUsd;
}

/** Whole MFLOPs of some operations, a begun one counted. */
export const wholeMflop = (flops: number): number => Math.ceil(flops / 1e6);

/** What work costs, exactly: MFLOPs · nano-dollars a TFLOP is femto-dollars. */
export const costOf = (mflop: number, { nanoUsdPerTflop }: Pick<Rate, 'nanoUsdPerTflop'>): FemtoUsd =>
  BigInt(mflop) * BigInt(nanoUsdPerTflop);

/** What a whole image of this work costs: rounded once, and never less than the minimum. */
export const imageCost = (mflop: number, rate: Rate): MicroUsd =>
  Math.max(rate.minimumMicroUsd, roundToMicro(costOf(mflop, rate)));

/** Work of a plan that is to be priced. */
export interface WorkToPrice {
  /** of the model as it is guided */
  readonly facts: FlopFacts;
  readonly textTokens: number;
  readonly stages: readonly (StageShape & { readonly evaluations: number })[];
  /** of the finished image */
  readonly pixels: number;
  readonly plainSteps: number;
}

/** Work of a job in MFLOPs: denoising, pictures decoded, text at the model's limit. */
export const totalMflop = ({ stages, textMflop }: Pick<Price, 'stages' | 'textMflop'>): number =>
  stages.reduce((sum, { mflop, evaluations, decodeMflop }) => sum + mflop * evaluations + decodeMflop, textMflop);

/**
 * The price of a plan on `model`. `atMost` is its denoising where the evaluations are only known to stay below that,
 * MFLOPs. Law: nothing that the plan's stages do costs more than `quoted`.
 */
export function priceOf(
  tariff: Tariff,
  model: string,
  { facts, textTokens, stages, pixels, plainSteps }: WorkToPrice,
  atMost: number | null = null,
): Price {
  const rate = rateOf(tariff, model);
  const decode = (share: number): number => wholeMflop(facts.decode_per_pixel * pixels * share);
  const step = (tokens: number): number => wholeMflop(stepFlops(facts, tokens).total);
  const textMflop = wholeMflop(facts.text);
  const priced = stages.map((stage) => ({
    stage: stage.stage,
    tokens: stage.tokens,
    evaluations: stage.evaluations,
    mflop: step(stage.tokens),
    decodeMflop: decode(PICTURES[stage.decode]),
  }));
  const last = priced.at(-1);
  if (!last) throw new RangeError('stages has 0 entries; expected at least one');
  const decoded = priced.reduce((sum, { decodeMflop }) => sum + decodeMflop, 0);
  const most = atMost === null ? totalMflop({ stages: priced, textMflop }) : atMost + decoded + textMflop;
  return {
    tariff: tariff.version,
    ...rate,
    stages: priced,
    textMflop,
    textTokens,
    plainMflop: last.mflop * plainSteps + decode(1) + textMflop,
    quoted: imageCost(most, rate),
  };
}
