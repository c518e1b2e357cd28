/** The shift of a model's own schedule at a size. Pure. */
import type { ModelFacts } from '../stage/contract.ts';

/**
 * The model's own shift at a number of full-resolution tokens: log(shift) linear in tokens between neighbouring points,
 * and on along the outermost ones.
 */
export function modelShift(points: ModelFacts['shift'], tokens: number): number {
  const stated = points.find((point) => point.tokens === tokens);
  if (stated) return stated.shift;
  const above = points.findIndex((point) => point.tokens > tokens);
  const end = Math.min(points.length - 1, above === -1 ? Infinity : Math.max(1, above));
  const [from, to] = [points[end - 1], points[end]];
  if (!to) throw new RangeError('a model states at least one shift');
  if (!from) return to.shift;
  const share = (tokens - from.tokens) / (to.tokens - from.tokens);
  return Math.exp(Math.log(from.shift) + share * (Math.log(to.shift) - Math.log(from.shift)));
}
