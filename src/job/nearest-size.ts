/** The size that a model makes for a size it does not: what tools with a fixed list of sizes get. Pure. */
import { canBeStaged, makesSize, type Size, type SizeFacts, type SizeRule } from '../numerics/grid.ts';
import type { ModelFacts } from '../stage/contract.ts';

/** How far a ratio may be off, as a logarithm, and count as the wanted one: 2 percent, which nobody sees cut off. */
const ALIKE = 0.02;
/** Rounding of a logarithm. */
const EPSILON = 1e-9;
/** How many multiples around the size that a rule would allow are looked at, along each side. */
const AROUND = 2;

const ratioOf = ({ width, height }: Size): number => Math.log(width / height);
const areaOf = ({ width, height }: Size): number => Math.log(width * height);

/**
 * The size that a model makes whose aspect ratio is nearest to the wanted one, to 2 percent. Of several one that stages
 * can run on, because the others have the plain run alone; of these the smallest that has as many pixels as wanted, or
 * the largest where none has: a picture is rather made smaller than larger. Ratios and areas are compared by their
 * logarithms, so twice as wide is as far as twice as high.
 *
 * Laws: the result is a size that the model makes; a size that the model makes and can run stages on is its own; a
 * wanted size that is turned by a quarter gives the turned one, where the model makes both.
 */
export function nearestSize(wanted: Size, facts: Pick<ModelFacts, 'sizes' | 'size_rule' | 'token_pixels'>): Size {
  return candidates(wanted, facts).reduce((best, size) =>
    isNearer(size, best, { wanted, tokenPixels: facts.token_pixels }) ? size : best,
  );
}

function isNearer(
  size: Size,
  best: Size,
  { wanted, tokenPixels }: { readonly wanted: Size; readonly tokenPixels: number },
): boolean {
  // in whole steps, so that the order of the candidates decides nothing
  const off = (one: Size): number => Math.floor(Math.abs(ratioOf(one) - ratioOf(wanted)) / ALIKE + EPSILON);
  if (off(size) !== off(best)) return off(size) < off(best);
  const isStaged = (one: Size): boolean => canBeStaged(one, tokenPixels);
  if (isStaged(size) !== isStaged(best)) return isStaged(size);
  const holds = (one: Size): boolean => one.width * one.height >= wanted.width * wanted.height;
  if (holds(size) !== holds(best)) return holds(size);
  return Math.abs(areaOf(size) - areaOf(wanted)) < Math.abs(areaOf(best) - areaOf(wanted)) - EPSILON;
}

/** The listed sizes, then those near the wanted one that a rule allows: at least one. */
function candidates(
  wanted: Size,
  { sizes, size_rule, token_pixels }: SizeFacts & Pick<ModelFacts, 'token_pixels'>,
): readonly Size[] {
  const near = size_rule ? sizesAround(clamped(wanted, size_rule), size_rule, token_pixels) : [];
  return [...sizes, ...near.filter((size) => makesSize(size, { sizes, size_rule }))];
}

/** The wanted size with its aspect ratio and then its area brought into the bounds of a rule; no whole numbers. */
function clamped({ width, height }: Size, { min_pixels, max_pixels, max_aspect }: SizeRule): Size {
  const ratio = Math.min(max_aspect, Math.max(1 / max_aspect, width / height));
  const area = Math.min(max_pixels, Math.max(min_pixels, width * height));
  return { width: Math.sqrt(area * ratio), height: Math.sqrt(area / ratio) };
}

/** Sizes around one, in multiples that are whole numbers of tokens on a grid of half the size too. */
function sizesAround({ width, height }: Size, { multiple }: SizeRule, tokenPixels: number): readonly Size[] {
  const step = multiple % (2 * tokenPixels) === 0 ? multiple : 2 * multiple;
  const along = (side: number): readonly number[] =>
    Array.from({ length: 2 * AROUND + 1 }, (_, i) => (Math.round(side / step) + i - AROUND) * step).filter(
      (near) => near > 0,
    );
  return along(width).flatMap((wide) => along(height).map((high) => ({ width: wide, height: high })));
}
