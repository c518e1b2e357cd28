/**
 * A small, rough picture of a stage on its way: the clean estimate after its newest step, through the model's linear
 * colours. It reads what the steps have made and changes nothing.
 */
import { cleanEstimate } from '../../src/numerics/flow.ts';
import { wholeGrid } from '../../src/numerics/whole-grid.ts';
import { MAX_THUMBNAIL_BYTES, THUMBNAIL_SIDE } from '../../src/stage/contract.ts';
import { type Colours, paint } from './colours.ts';
import { encodeSmall, type SizedFile } from './encode.ts';
import type { NewestStep } from './run-stage.ts';
import { coverOf, type StageJob } from './validate.ts';

export const THUMBNAIL_FORMAT = 'webp';
const QUALITY = 60;
/** Pixels that are painted where the map has them: as many as a large picture of it needs, and quick to make. */
const PAINTED_SIDE = 64;

export interface StageThumbnail extends SizedFile {
  /** the step that it shows */
  readonly step: number;
}

/**
 * The picture after `newest`; null where the tokens cover no grid, as those of a stage that decodes nothing need not.
 * Of a mixed grid it shows what its decoded picture would: the low tokens, and of four children the first
 * (src/numerics/whole-grid.ts). The latents are read before this returns: later steps change nothing of it.
 */
export function makeThumbnail(
  job: StageJob,
  colours: Colours,
  { step, sigma, velocity }: NewestStep,
): Promise<StageThumbnail> | null {
  const cover = coverOf(job.options, job, job.model.facts);
  if (!cover.ok) return null;
  const { rows, cols, unit } = cover.value;
  const latents = cleanEstimate(job.latents, velocity, sigma);
  const grid = { rows: rows / unit, cols: cols / unit };
  const whole = wholeGrid({ ...job, latents }, grid.rows, grid.cols);
  const pixels = paint(colours, whole, { ...grid, longestSide: PAINTED_SIDE });
  const file = encodeSmall(pixels, {
    format: THUMBNAIL_FORMAT,
    longestSide: THUMBNAIL_SIDE,
    quality: QUALITY,
    maxBytes: MAX_THUMBNAIL_BYTES,
  });
  return file.then((made) => ({ ...made, step }));
}
