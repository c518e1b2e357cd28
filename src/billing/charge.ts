/**
 * What an ended job costs: the work that is paid for, by its frozen price. Pure.
 *
 * | how it ended | what is paid |
 * | --- | --- |
 * | done | its evaluations, pictures and text; at least the minimum |
 * | cancelled, or its deadline passed | the steps heard of and what finished stages decoded; no minimum |
 * | values that are not finite, on a schedule the caller wrote | the same |
 * | failed in any other way | nothing |
 *
 * A stage is paid once, however often it was tried. Text is paid by the length that the server computed, padding
 * included; no cache makes anything cheaper or dearer.
 */
import { formatExactUsd, formatUsd, type MicroUsd, roundToMicro } from './money.ts';
import { costOf, evaluationMflop, imageCost, type Price, plainCost, textMflop } from './price.ts';

/** What of the work is paid. */
export type Paying = 'whole' | 'heard' | 'nothing';

/** Work of one stage that was heard of. */
export interface StageDone {
  readonly stage: number;
  readonly evaluations: number;
  /** whether the stage was finished, and what it decodes with it */
  readonly isFinished: boolean;
  /** tokens of the prompt as its server computed them; null where none was told */
  readonly textTokens: number | null;
}

/** One line of a receipt, wire form. */
export interface ChargeLine {
  /** `stage1`, `decode1`, …, `text` */
  readonly item: string;
  /** image tokens of an evaluation, tokens of the text; null for a picture */
  readonly tokens: number | null;
  /** evaluations; 1 for a picture and the text */
  readonly steps: number;
  readonly tflops: number;
  /** exact */
  readonly usd: string;
}

export interface Charge {
  readonly micro: MicroUsd;
  /** work that is paid */
  readonly mflop: number;
  /** length of the text that is paid; null where nothing is */
  readonly textTokens: number | null;
  readonly lines: readonly ChargeLine[];
}

/** What a job costs, wire form: `usd` is null until it has ended, and never more than `quote_usd`. */
export interface CostView {
  readonly usd: string | null;
  readonly quote_usd: string;
  /** what the model's own plain run at this size would cost, with the same text */
  readonly plain_usd: string;
  readonly tariff: string;
}

/** The cost on a receipt: with the rates, and every line of work before it is rounded. */
export interface ReceiptCost extends CostView {
  readonly usd: string;
  readonly usd_per_tflop: string;
  readonly minimum_usd: string;
  readonly paid: Paying;
  /** exact; their sum is rounded once, to micro-dollars, and raised to the minimum where the image was finished */
  readonly lines: readonly ChargeLine[];
}

const FREE: Charge = { micro: 0, mflop: 0, textTokens: null, lines: [] };

/** The length of text that is paid: as a server computed it, at most what was quoted. */
function paidText({ text: { limit, usual } }: Price, done: readonly StageDone[], isWhole: boolean): number {
  const told = done.map((stage) => stage.textTokens).filter((tokens) => tokens !== null);
  if (told.length > 0) return Math.min(limit, Math.max(...told));
  // a model that pads every text computes the longest; of any other nothing longer than one token was heard of
  return isWhole || usual === limit ? limit : 1;
}

/**
 * The charge of a job whose stages did `done`. Laws: never above the quote; all stages finished with text at the limit
 * cost `imageCost` of the whole; nothing done costs nothing unless the image was finished.
 */
export function chargeOf(price: Price, done: readonly StageDone[], paying: Paying): Charge {
  if (paying === 'nothing' || done.length === 0) return FREE;
  const length = paidText(price, done, paying === 'whole');
  const work: { item: string; tokens: number | null; steps: number; mflop: number }[] = [];
  for (const { stage, evaluations, isFinished } of done) {
    const planned = price.stages.find((one) => one.stage === stage);
    if (!planned) throw new RangeError(`stage is ${stage}; expected one of the ${price.stages.length} planned`);
    const steps = Math.min(evaluations, planned.evaluations);
    const mflop = evaluationMflop(planned, price.text, length) * steps;
    if (steps > 0) work.push({ item: `stage${stage}`, tokens: planned.tokens, steps, mflop });
    if (isFinished && planned.decodeMflop > 0)
      work.push({ item: `decode${stage}`, tokens: null, steps: 1, mflop: planned.decodeMflop });
  }
  work.push({ item: 'text', tokens: length, steps: 1, mflop: textMflop(price.text, length) });
  const mflop = work.reduce((sum, line) => sum + line.mflop, 0);
  const micro = paying === 'whole' ? imageCost(mflop, price) : roundToMicro(costOf(mflop, price));
  return {
    micro: Math.min(price.quoted, micro),
    mflop,
    textTokens: length,
    lines: work.map(({ mflop: own, ...line }) => ({
      ...line,
      tflops: own / 1e6,
      usd: formatExactUsd(costOf(own, price)),
    })),
  };
}

/** The cost of a job that has not ended: the plain run beside it has the longest text, as the quote has. */
export const viewQuotedCost = (price: Price): CostView & { readonly usd: null } => ({
  usd: null,
  quote_usd: formatUsd(price.quoted),
  plain_usd: formatUsd(plainCost(price, price.text.limit)),
  tariff: price.tariff,
});

/** The cost on a receipt. */
export const viewCharge = (price: Price, { micro, textTokens, lines }: Charge, paid: Paying): ReceiptCost => ({
  ...viewQuotedCost(price),
  usd: formatUsd(micro),
  plain_usd: formatUsd(plainCost(price, textTokens ?? price.text.limit)),
  usd_per_tflop: formatExactUsd(BigInt(price.nanoUsdPerTflop) * 1_000_000n),
  minimum_usd: formatUsd(price.minimumMicroUsd),
  paid,
  lines,
});
