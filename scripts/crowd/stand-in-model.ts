/**
 * The model of the stand-in stage servers: the closed form at a pace that no machine changes. Its work is that of a
 * large model at a small size, so that a request is little to carry and its price and pace are those of real work.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Model } from '../../containers/onnx/model.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { CLOSED_FORM_FACTS, closedFormModel } from '../local/closed-form-model.ts';

/** The digest of the stand-in's weights; a server may state another. */
export const DIGEST = 'sha256:stand-in';
/** The class of the engine that computes for it; a server may state another. */
export const ENGINE = 'stand-in/1';
/** Stages of a job by the model's own preset. */
export const NUM_STAGES = 3;
/** Steps of each of its stages. */
export const STEPS = 2;

/** What the stand-in says of its model. A step over 16 tokens is about 3 TFLOPs. */
export const STAND_IN_FACTS: ModelFacts = {
  ...CLOSED_FORM_FACTS,
  id: 'stand-in',
  aliases: [],
  family: null,
  sizes: [
    { width: 64, height: 64 },
    { width: 128, height: 128 },
  ],
  shift: [{ tokens: 16, shift: 1 }],
  steps: 50,
  presets: [{ name: 'three', N: [STEPS, STEPS, STEPS], e: [0.3, 0.6, 1], r: [0.3] }],
  flops: {
    per_token: 1.87e11,
    per_token_squared: 3.3e7,
    fixed: 1.2e10,
    attention_per_token: 5.28e8,
    attention_fixed: 2.1e9,
    decode_per_pixel: 2e7,
    text: 4.3e11,
  },
  digest: DIGEST,
  card: 'scripts/crowd/stand-in-model.ts',
};

/** What may change while a stand-in runs. */
export interface Pace {
  /** milliseconds that each step takes */
  stepMs: number;
  /** as long as it is true, no step ends */
  isStalled: boolean;
}

const STALL_LOOK_MS = 20;

/** A model of this digest and engine at `pace`, which is read at each step. */
export function standInModel({
  digest,
  engine,
  pace,
}: {
  readonly digest: string;
  readonly engine: string;
  readonly pace: Readonly<Pace>;
}): Model {
  const { model } = closedFormModel({ facts: { ...STAND_IN_FACTS, digest } });
  return {
    ...model,
    engine,
    async velocity(input) {
      if (pace.stepMs > 0) await pause(pace.stepMs);
      while (pace.isStalled) await pause(STALL_LOOK_MS);
      return model.velocity(input);
    },
  };
}
