/**
 * Floating-point work, 2 per multiply-add, from a model's own facts. Pure.
 * Source: the layer shapes of FLUX.1 and SD3 Medium; a test holds every row of the RALU paper's TFLOPs table to 0.5 %.
 */
import { requireInteger } from './bounds.ts';

/** Work of one model as polynomials in the number of image tokens n; the same fields as a stage server's `flops`. */
export interface FlopFacts {
  /**
   * one denoising step: fixed + per_token * n + per_token_squared * n²; the last term is attention between image tokens
   */
  readonly per_token: number;
  readonly per_token_squared: number;
  readonly fixed: number;
  /** the parts of per_token and fixed that are attention (image against text, text against text) */
  readonly attention_per_token: number;
  readonly attention_fixed: number;
  /** decoding, an image pixel; encoding the prompt, a job */
  readonly decode_per_pixel: number;
  readonly text: number;
}

/**
 * The work of a model that evaluates once a step, from figures that count the two branches of classifier-free guidance:
 * half of each step and of the text, all of a decode.
 */
export const oneBranch = (facts: FlopFacts): FlopFacts => ({
  per_token: facts.per_token / 2,
  per_token_squared: facts.per_token_squared / 2,
  fixed: facts.fixed / 2,
  attention_per_token: facts.attention_per_token / 2,
  attention_fixed: facts.attention_fixed / 2,
  decode_per_pixel: facts.decode_per_pixel,
  text: facts.text / 2,
});

export interface StepFlops {
  readonly total: number;
  /** the paper's convention: its profiler counts fused attention as zero */
  readonly withoutAttention: number;
}

/** Work of one denoising step over `imageTokens` tokens. */
export function stepFlops(facts: FlopFacts, imageTokens: number): StepFlops {
  requireInteger('imageTokens', imageTokens, 1, 2 ** 24);
  const total = facts.fixed + facts.per_token * imageTokens + facts.per_token_squared * imageTokens ** 2;
  return {
    total,
    withoutAttention:
      total -
      facts.attention_fixed -
      facts.attention_per_token * imageTokens -
      facts.per_token_squared * imageTokens ** 2,
  };
}

/**
 * Decoding of a pixel with FLUX's and SD3's autoencoder: 2.48 TFLOPs at 512². Text: what is left of the paper's fixed
 * 14.78 TFLOPs after decoding 1024².
 */
const DECODE_PER_PIXEL = 2.48e12 / 512 ** 2;
const TEXT = 14.78e12 - DECODE_PER_PIXEL * 1024 ** 2;

/**
 * Facts of FLUX.1 with `textTokens` prompt tokens: dev has `guidance` embedded, schnell has not. 19 double and 38
 * single blocks of width 3072.
 */
export function fluxFlopFacts({ textTokens, guidance }: { textTokens: number; guidance: boolean }): FlopFacts {
  const d = 3072;
  const linear = 2 * 57 * 12 * d * d;
  const modulation = 2 * d * d * (19 * 12 + 38 * 3 + 2);
  const vectors = 2 * (256 * d + d * d) * (guidance ? 2 : 1) + 2 * (768 * d + d * d);
  const ends = 2 * (64 * d + 64 * d);
  const context = 2 * 4096 * d * textTokens;
  return {
    ...withAttention({
      linear: linear + ends,
      fixed: linear * textTokens + modulation + vectors + context,
      attention: 4 * d * 57,
      textTokens,
    }),
    decode_per_pixel: DECODE_PER_PIXEL,
    text: TEXT,
  };
}

/**
 * Facts of SD3 Medium with `textTokens` prompt tokens (333 in the paper); `cfg` runs two branches a step. 24 joint
 * blocks of width 1536.
 */
export function sd3FlopFacts({ textTokens, cfg }: { textTokens: number; cfg: boolean }): FlopFacts {
  const d = 1536;
  const branches = cfg ? 2 : 1;
  const linear = branches * 2 * 24 * 12 * d * d;
  const fixed = branches * 2 * d * d * textTokens * (23 * 12 + 3);
  return {
    ...withAttention({ linear, fixed, attention: branches * 4 * d * 24, textTokens }),
    decode_per_pixel: DECODE_PER_PIXEL,
    text: TEXT,
  };
}

/** The polynomial of a step whose attention costs `attention` * (n + textTokens)², beside `linear` * n + `fixed`. */
function withAttention({
  linear,
  fixed,
  attention,
  textTokens,
}: {
  linear: number;
  fixed: number;
  attention: number;
  textTokens: number;
}): Omit<FlopFacts, 'decode_per_pixel' | 'text'> {
  requireInteger('textTokens', textTokens, 0, 2 ** 24);
  const attention_per_token = 2 * attention * textTokens;
  const attention_fixed = attention * textTokens ** 2;
  return {
    per_token: linear + attention_per_token,
    per_token_squared: attention,
    fixed: fixed + attention_fixed,
    attention_per_token,
    attention_fixed,
  };
}
