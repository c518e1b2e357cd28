/**
 * What every way of sampling begins with: the token grid of a job, the model's own shift there, and seeded noise on it.
 * Pure.
 */
import { modelShift } from '../../../src/job/model-shift.ts';
import { buildSchedule } from '../../../src/numerics/schedule.ts';
import { gridIds, initialTokens, type Tokens } from '../../../src/numerics/tokens.ts';
import type { Denoiser } from '../denoiser.ts';

export interface Canvas {
  /** the full token grid */
  readonly rows: number;
  readonly cols: number;
  readonly channels: number;
  /** values of a token, 4 * channels */
  readonly width: number;
  /** the model's own shift at the full grid */
  readonly shift: number;
}

export function canvasOf({ facts, job }: Pick<Denoiser, 'facts' | 'job'>): Canvas {
  const rows = job.height / facts.token_pixels;
  const cols = job.width / facts.token_pixels;
  return {
    rows,
    cols,
    channels: facts.channels,
    width: 4 * facts.channels,
    shift: modelShift(facts.shift, rows * cols),
  };
}

/**
 * The job's noise: on the full grid (side 1), or on the half-size grid where low-resolution steps come first (side 2).
 */
export function firstTokens(denoiser: Pick<Denoiser, 'facts' | 'job'>, side: 1 | 2): Tokens {
  const { rows, cols, width } = canvasOf(denoiser);
  return initialTokens({ rows: rows / side, cols: cols / side, values: width, seed: denoiser.job.seed, scale: side });
}

/** Latents [n * D] as the tokens of the full grid. */
export function fullGrid(denoiser: Pick<Denoiser, 'facts' | 'job'>, latents: Float32Array): Tokens {
  const { rows, cols } = canvasOf(denoiser);
  return { latents, imgIds: gridIds(rows, cols), scale: new Uint8Array(rows * cols).fill(1) };
}

/** [steps + 1] the model's own noise levels, 1 to 0. */
export const plainSigmas = (steps: number, shift: number): Float64Array =>
  buildSchedule({ steps: [steps], ends: [1], shifts: [shift], z: [] }).stages[0]!.sigmas;
