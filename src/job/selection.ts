/** How the tokens that go early are found, and those that the clean latents tell. Pure. */
import { selectAtBoundaries } from '../numerics/early.ts';
import { latentScores, rankTokens, type Selection } from '../numerics/select.ts';
import type { Job, JobRequest, Plan } from './job.ts';

/** What a job selects by: as asked, or `none` where no token of its plan goes early. */
export const selectionOf = (
  { selection }: Pick<JobRequest, 'selection'>,
  { selected }: Pick<Plan, 'selected'>,
): Selection => (selected.some((count) => count > 0) ? selection : 'none');

/**
 * For every boundary but the last the places of the tokens upsampled there, by the detail of the clean latents [n * D]
 * of the low grid. Throws RangeError.
 */
export function selectByLatents(
  clean: Float32Array,
  { selected, rows, cols }: Pick<Plan, 'selected' | 'rows' | 'cols'>,
): NonNullable<Job['selections']> {
  const ranking = rankTokens(latentScores(clean, (rows * cols) / 4));
  return selectAtBoundaries(ranking, selected).map((chosen) => Array.from(chosen));
}
