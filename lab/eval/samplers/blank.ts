/**
 * RALU's last stage alone: the control for what the stages before it contribute.
 *
 * At its last boundary RALU starts again at t = s from s * clean + (1 - s) * z. Here the clean estimate is blank, 0, so
 * the stage starts from (1 - s) * z, white noise of the very strength, and walks the same noise levels. The score that
 * RALU has above this row is what its first stages are worth.
 */
import type { PlannedStage } from '../../../src/job/job.ts';
import { normalsAtPlaces } from '../../../src/numerics/normal.ts';
import { gridIds, type Tokens } from '../../../src/numerics/tokens.ts';
import type { Sampler } from '../sampler.ts';
import { canvasOf } from './canvas.ts';
import { planFor, type RaluOptions } from './ralu.ts';

/**
 * The last stage of the plan of `schedule`, from the white noise that its boundary has at each place. Throws RangeError
 * where the product refuses the schedule.
 */
export function blank({ schedule }: Pick<RaluOptions, 'schedule'>): Sampler {
  // the plan of a size is fitted once
  const stages = new Map<string, PlannedStage>();
  return async (denoiser) => {
    const { rows, cols, width } = canvasOf(denoiser);
    const key = `${denoiser.facts.digest} ${denoiser.job.width}x${denoiser.job.height}`;
    const stage = stages.get(key) ?? planFor(denoiser.facts, denoiser.job, schedule).stages.at(-1)!;
    stages.set(key, stage);
    const imgIds = gridIds(rows, cols);
    const noise = normalsAtPlaces({
      seed: denoiser.job.seed,
      stream: stage.stage - 1,
      places: Uint32Array.from(imgIds.filter((_, i) => i % 3 !== 0)),
      width,
    });
    const tokens: Tokens = {
      latents: noise.map((value) => stage.sigmas[0]! * value),
      imgIds,
      scale: new Uint8Array(rows * cols).fill(1),
    };
    return { ...tokens, latents: await denoiser.steps(tokens, stage.sigmas) };
  };
}
