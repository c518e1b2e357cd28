/** The ways of sampling that the evaluation compares. */
import type { Tokens } from '../../src/numerics/tokens.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import type { Denoiser, Job } from './denoiser.ts';

/** Makes a picture's latents: deterministic in the denoiser's model and job. */
export type Sampler = (denoiser: Denoiser) => Promise<Tokens>;

/** One way of sampling. `sample` returns the clean full grid, row by row, scale 1, for `denoiser.decode`. */
export interface Row {
  /** short, unique over rows and ablations: kebab case */
  readonly id: string;
  readonly name: string;
  readonly group: 'plain' | 'rival' | 'ralu' | 'ablation';
  /** its settings, as the document prints them */
  readonly settings: Readonly<Record<string, number | string | readonly number[]>>;
  readonly sample: Sampler;
}

/** One setting of an ablation: a row and where it stands on the x axis. */
export interface AblationRow extends Row {
  readonly value: number | string;
}

export interface Ablation {
  readonly id: string;
  readonly title: string;
  readonly axis: string;
  readonly rows: readonly AblationRow[];
}

/** What must be known of the model before rows at equal work can be set up; plain JSON, to be stored with the results. */
export interface Calibration {
  readonly width: number;
  readonly height: number;
  /** TeaCache: accumulated relative change at which the model is asked again, for work at most that of 7x */
  readonly reuseThreshold: number;
  /** SPEED: power of clean latents a frequency, power = scale * frequency ^ -slope */
  readonly spectrum: { readonly scale: number; readonly slope: number };
}

/** Measures the calibration on a few jobs of one size. Costs about as much as four plain runs a job. */
export declare function calibrate(facts: ModelFacts, open: (job: Job) => Denoiser, jobs: readonly Job[]): Promise<Calibration>;

/** The rows of the table, the plain run first. */
export declare function makeRows(facts: ModelFacts, calibration: Calibration): readonly Row[];

/** The ablations, each with all its settings. */
export declare function makeAblations(facts: ModelFacts, calibration: Calibration): readonly Ablation[];
