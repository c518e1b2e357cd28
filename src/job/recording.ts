/** Two jobs as they were told, kept in a file: what the page shows to those who have made no picture yet. */
import type { Picture, SeenEvent } from './events.ts';

/** One job: everything that it told, and the picture that it came to. */
export interface RecordedRun {
  readonly preset: string;
  /** as they were told, live ones too; `at` is milliseconds since the job was made */
  readonly events: readonly SeenEvent[];
  readonly picture: Picture;
}

/** The same prompt and seed with a preset and with the plain model, one after the other on one machine. */
export interface Recording {
  readonly prompt: string;
  readonly seed: number;
  readonly width: number;
  readonly height: number;
  readonly model: string;
  readonly model_digest: string;
  /** the day, as `2026-11-28` */
  readonly recorded_on: string;
  /** how often both were made; this is the round whose ratio of whole requests is the median */
  readonly rounds: number;
  readonly machine: { readonly cores: number; readonly processor: string };
  readonly versions: { readonly ralu: string; readonly node: string; readonly workerd: string };
  /** the preset's first, then the plain model's */
  readonly runs: readonly [RecordedRun, RecordedRun];
}
