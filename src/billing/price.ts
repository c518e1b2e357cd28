/**
 * What a job may cost at most, known before it exists and frozen in its plan: the rates of its tariff, and its work in
 * whole MFLOPs (10⁶ operations). A run of FLUX at 2048² has more operations than a double counts exactly, and a
 * millionth of them in MFLOPs. Pure.
 *
 * The facts of a model count a step with the text that it usually computes with. Image and text tokens go through the
 * same blocks, so with t tokens of text instead of T, each step of n image tokens has
 *
 *   (t - T) * (linear + 2 a n) + a (t² - T²)
 *
 * operations more: `a` is what the attention of two tokens costs (`per_token_squared`), `linear` what a token costs
 * without it. T itself is told by the attention between image and text, which is 2 a T for each image token.
 */
import { type FlopFacts, stepFlops } from '../numerics/flops.ts';
import { type FemtoUsd, type MicroUsd, roundToMicro } from './money.ts';
import { type Rate, rateOf, type Tariff } from './tariff.ts';
import { PICTURES, type StageShape } from './work.ts';

/** One stage of a plan as it is priced. */
export interface PricedStage {
  /** 1, 2, …, K */
  readonly stage: number;
  readonly tokens: number;
  readonly evaluations: number;
  /** of one evaluation with the usual text, operations */
  readonly flops: number;
  /** of what is decoded at its end */
  readonly decodeMflop: number;
}

/** What tokens of text cost, operations. */
export interface PricedText {
  /** the most that the model reads, and what its facts count a step with */
  readonly limit: number;
  readonly usual: number;
  /** encoding the usual text */
  readonly flops: number;
  /** a token in every step, without attention; and the attention of two tokens */
  readonly linear: number;
  readonly attention: number;
}

export interface Price extends Rate {
  /** version of the tariff */
  readonly tariff: string;
  readonly stages: readonly PricedStage[];
  readonly text: PricedText;
  /** the model's own run at this size: steps over the full grid, one picture decoded */
  readonly plain: Omit<PricedStage, 'stage'>;
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

/**
 * MFLOPs of one evaluation over `tokens` image tokens with `length` tokens of text, `flops` with the usual text. Law:
 * grows with the text.
 */
export function evaluationMflop(
  { tokens, flops }: Pick<PricedStage, 'tokens' | 'flops'>,
  { usual, linear, attention }: PricedText,
  length: number,
): number {
  const more = (length - usual) * (linear + 2 * attention * tokens) + attention * (length ** 2 - usual ** 2);
  return wholeMflop(Math.max(0, flops + more));
}

/** MFLOPs of encoding a text of this length. */
export const textMflop = ({ flops, usual }: PricedText, length: number): number => wholeMflop((flops * length) / usual);

/** MFLOPs of some stages with all they decode, and the text encoded once. */
export const workOf = (
  stages: readonly Omit<PricedStage, 'stage'>[],
  { text }: Pick<Price, 'text'>,
  length: number,
): number =>
  stages.reduce(
    (sum, stage) => sum + evaluationMflop(stage, text, length) * stage.evaluations + stage.decodeMflop,
    textMflop(text, length),
  );

/** What the model's own plain run costs with a text of this length. */
export const plainCost = (price: Price, length: number): MicroUsd =>
  imageCost(workOf([price.plain], price, length), price);

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

/** What a step's attention between image and text says of the length of the text that the facts count. */
function usualText({ attention_per_token, per_token_squared }: FlopFacts, limit: number): number {
  const usual = attention_per_token / (2 * per_token_squared);
  // facts that do not tell it count the longest
  return usual > 0 && usual <= limit ? usual : limit;
}

/**
 * The price of a plan on `model`. `atMost` is how much denoising it comes to where its steps are not known yet:
 * operations with the usual text, in at most so many evaluations. Law: nothing that the plan's stages do costs
 * more than `quoted`, whatever the length of the prompt.
 */
export function priceOf(
  tariff: Tariff,
  model: string,
  { facts, textTokens, stages, pixels, plainSteps }: WorkToPrice,
  atMost: { readonly flops: number; readonly evaluations: number } | null = null,
): Price {
  const rate = rateOf(tariff, model);
  const decode = (share: number): number => wholeMflop(facts.decode_per_pixel * pixels * share);
  const text: PricedText = {
    limit: textTokens,
    usual: usualText(facts, textTokens),
    flops: facts.text,
    linear: Math.max(0, facts.per_token - facts.attention_per_token),
    attention: facts.per_token_squared,
  };
  const priced = stages.map((stage) => ({
    stage: stage.stage,
    tokens: stage.tokens,
    evaluations: stage.evaluations,
    flops: stepFlops(facts, stage.tokens).total,
    decodeMflop: decode(PICTURES[stage.decode]),
  }));
  const last = priced.at(-1);
  if (!last) throw new RangeError('stages has 0 entries; expected at least one');
  const most = atMost
    ? searchedMflop(priced, text, atMost) +
      workOf(
        priced.map((stage) => ({ ...stage, evaluations: 0 })),
        { text },
        text.limit,
      )
    : workOf(priced, { text }, text.limit);
  return {
    tariff: tariff.version,
    ...rate,
    stages: priced,
    text,
    plain: { tokens: last.tokens, evaluations: plainSteps, flops: last.flops, decodeMflop: decode(1) },
    quoted: imageCost(most, rate),
  };
}

/** The most denoising that steps of these stages come to within a budget: text makes each dearer by its own factor. */
function searchedMflop(
  stages: readonly PricedStage[],
  text: PricedText,
  { flops, evaluations }: { readonly flops: number; readonly evaluations: number },
): number {
  const factor = Math.max(...stages.map((stage) => evaluationMflop(stage, text, text.limit) / (stage.flops / 1e6)));
  return Math.ceil((flops / 1e6) * factor) + evaluations;
}
