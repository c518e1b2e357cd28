/** What must be measured on a model before rows at equal work can be set up. */

import { defaultPreset } from '../../src/job/presets.ts';
import { stepFlops } from '../../src/numerics/flops.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import type { Denoiser, Job } from './denoiser.ts';
import { budgetOf } from './samplers/budget.ts';
import { canvasOf } from './samplers/canvas.ts';
import { type Decoded, type Encoder, fitEncoder } from './samplers/encode.ts';
import { plain } from './samplers/plain.ts';
import { planFor } from './samplers/ralu.ts';
import { teaCache } from './samplers/reuse.ts';
import { fitPowerLaw, type PowerLaw } from './samplers/spectrum.ts';
import { presetSchedule } from './schedules.ts';

/** What a calibration holds and how it is measured: raised with every change, so that none is taken for another. */
export const CALIBRATION_VERSION = 2;

/** Plain JSON, to be stored with the results it belongs to. */
export interface Calibration {
  readonly version: number;
  readonly width: number;
  readonly height: number;
  /**
   * TeaCache: expected relative change at which the model is asked again, for work not below that of the fastest
   * preset, as near as it can be had
   */
  readonly reuseThreshold: number;
  /** full-size evaluations a job that this threshold led to, on the calibration's jobs */
  readonly reuseEvaluations: number;
  /** SPEED: power of a cosine coefficient of the model's clean latents, by frequency */
  readonly spectrum: PowerLaw;
  /** from pixels to latents, for rivals that resize pictures */
  readonly encoder: Encoder;
}

const THRESHOLDS = { least: 1e-3, most: 10, halvings: 10 } as const;

/**
 * The calibration on a few jobs of one size, from `open(job)` denoisers. Deterministic in model and jobs.
 * Costs a plain run and about ten runs of the fastest preset's work a job.
 */
export async function calibrate(
  facts: ModelFacts,
  open: (job: Job) => Denoiser,
  jobs: readonly Job[],
): Promise<Calibration> {
  const [first] = jobs;
  if (!first) throw new RangeError('jobs has 0 entries; expected at least one to calibrate on');
  const { width, height } = first;
  const canvas = canvasOf({ facts, job: first });
  const pictures: Decoded[] = [];
  for (const job of jobs) {
    const denoiser = open(job);
    const tokens = await plain({ steps: facts.steps })(denoiser);
    pictures.push({ latents: tokens.latents, picture: await denoiser.decode(tokens) });
  }

  const budget = budgetOf(facts, planFor(facts, first, presetSchedule(facts, defaultPreset(facts))));
  const fullStep = stepFlops(facts.flops, canvas.rows * canvas.cols).total;
  const evaluationsAt = async (threshold: number): Promise<number> => {
    let total = 0;
    for (const job of jobs) {
      const denoiser = open(job);
      await teaCache({ steps: facts.steps, threshold })(denoiser);
      total += denoiser.spent.denoiseFlops / fullStep;
    }
    return total / jobs.length;
  };
  // evaluations fall as the threshold rises: halve the interval between one that is enough and one that is not
  let low: number = THRESHOLDS.least;
  let high: number = THRESHOLDS.most;
  let reuseEvaluations = await evaluationsAt(low);
  for (let i = 0; i < THRESHOLDS.halvings && reuseEvaluations > budget + 0.1; i++) {
    const middle = Math.sqrt(low * high);
    const found = await evaluationsAt(middle);
    if (found < budget) high = middle;
    else {
      low = middle;
      reuseEvaluations = found;
    }
  }
  return {
    version: CALIBRATION_VERSION,
    width,
    height,
    reuseThreshold: low,
    reuseEvaluations,
    spectrum: fitPowerLaw(
      pictures.map(({ latents }) => latents),
      canvas,
    ),
    encoder: fitEncoder(pictures, canvas.channels),
  };
}
