/** A row of the evaluation's table, and an ablation: rows that differ in one setting. */
import type { Sampler } from './sampler.ts';

type Setting = number | string | boolean | readonly number[];

/** One way of sampling; `denoiser.decode` makes a picture of what `sample` returns. */
export interface Row {
  /** unique over rows and ablations: kebab case */
  readonly id: string;
  readonly name: string;
  readonly group: 'plain' | 'rival' | 'ralu' | 'ablation';
  /** as the document prints them */
  readonly settings: Readonly<Record<string, Setting>>;
  /** of a rival: what is its paper's and what is decided here, a sentence */
  readonly reading?: string;
  readonly sample: Sampler;
}

/** One setting of an ablation: a row and where it stands on the x axis. */
export interface AblationRow extends Row {
  readonly group: 'ablation';
  readonly value: number | string;
}

export interface Ablation {
  readonly id: string;
  readonly title: string;
  readonly axis: string;
  readonly rows: readonly AblationRow[];
}
