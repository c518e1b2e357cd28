/** What each stage of a plan begins with: noise before the first, the tokens of the stage before after that. Pure. */
import { transition } from '../numerics/renoise.ts';
import { initialTokens, type Tokens } from '../numerics/tokens.ts';
import type { Plan, PlannedStage, Upsampling } from './job.ts';

/** Seeded noise: on the half-size grid when stages follow, on the full grid when the first stage is all there is. */
export function firstTokens({ rows, cols, stages, model }: Plan, seed: number): Tokens {
  const side = stages.length === 1 ? 1 : 2;
  return initialTokens({ rows: rows / side, cols: cols / side, values: model.channels * 4, seed, scale: side });
}

/** How the tokens of one stage become those of the next. */
export interface BoundaryOptions {
  readonly seed: number;
  readonly mode: Upsampling;
  /** unit variance for the values that are not upsampled, as the published reference has it */
  readonly referenceVariance: boolean;
}

/**
 * The tokens that `stage`, the second or a later one, begins with. `tokens` are those at the end of the stage before;
 * upsampled are the `selections` of this boundary, at the last one all that are still low. Laws: as many as the plan
 * says; before the last stage they are the full grid in its order; the same arguments give the same tokens. Throws
 * RangeError where the plan has no such boundary, or no selection was made for it.
 */
export function nextTokens(
  { stages, numerics }: Pick<Plan, 'stages' | 'numerics'>,
  { stage, start, renoise }: PlannedStage,
  { tokens, selections }: { readonly tokens: Tokens; readonly selections: readonly ArrayLike<number>[] | null },
  { seed, mode, referenceVariance }: BoundaryOptions,
): Tokens {
  if (!renoise) throw new RangeError(`stage is ${stage}; expected one after a boundary`);
  const isLast = stage === stages.length;
  const chosen = isLast ? stillLow(tokens) : selections?.[stage - 2];
  if (!chosen) throw new RangeError(`selections has nothing for stage ${stage}; expected the tokens to upsample`);
  return transition({
    tokens,
    chosen: Uint32Array.from(chosen),
    mode,
    renoise: { start, ...renoise },
    seed,
    stream: stage - 1,
    order: numerics === 1 ? 'list' : 'place',
    referenceVariance,
    isLast,
  });
}

const stillLow = ({ scale }: Tokens): Uint32Array => Uint32Array.from(scale.keys()).filter((n) => scale[n] === 2);
