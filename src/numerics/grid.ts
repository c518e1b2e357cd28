/**
 * The sizes of pictures: which a model makes, which have a token grid, and which a schedule with stages can use. Pure.
 */

/** Pixels of a picture. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/**
 * Sizes by rule: sides in multiples of `multiple`, the area between bounds, the longer side at most `max_aspect` times
 * the shorter.
 */
export interface SizeRule {
  readonly multiple: number;
  readonly min_pixels: number;
  readonly max_pixels: number;
  readonly max_aspect: number;
}

/** The sizes that a model makes: those of a list, and all that a rule allows where there is one. */
export interface SizeFacts {
  readonly sizes: readonly Size[];
  readonly size_rule: SizeRule | null;
}

const fitsRule = ({ width, height }: Size, { multiple, min_pixels, max_pixels, max_aspect }: SizeRule): boolean =>
  width % multiple === 0 &&
  height % multiple === 0 &&
  width * height >= min_pixels &&
  width * height <= max_pixels &&
  Math.max(width, height) <= max_aspect * Math.min(width, height);

/** Whether a model makes pictures of this size: it is in the list, or the rule allows it. */
export const makesSize = (size: Size, { sizes, size_rule }: SizeFacts): boolean =>
  sizes.some(({ width, height }) => width === size.width && height === size.height) ||
  (size_rule !== null && fitsRule(size, size_rule));

/** The sizes that a model makes, for people: `256x256, 256x128, or sides that are multiples of 16, …`. */
export function describeSizes({ sizes, size_rule }: SizeFacts): string {
  const listed = sizes.map(({ width, height }) => `${width}x${height}`).join(', ');
  if (!size_rule) return listed;
  const { multiple, min_pixels, max_pixels, max_aspect } = size_rule;
  return `${listed}, or any size with sides that are multiples of ${multiple}, ${min_pixels} to ${max_pixels} pixels, and the longer side at most ${max_aspect} times the shorter`;
}

/**
 * Whether tokens of `tokenPixels` x `tokenPixels` pixels cover the picture exactly. A model may offer no other size.
 */
export const hasTokenGrid = ({ width, height }: Size, tokenPixels: number): boolean =>
  width > 0 && height > 0 && width % tokenPixels === 0 && height % tokenPixels === 0;

/**
 * Whether a schedule of two stages or more can make the picture: its first stage runs on half the tokens of each side,
 * so both sides need an even number. Any other size with a grid is for the plain run alone.
 */
export const canBeStaged = (size: Size, tokenPixels: number): boolean => hasTokenGrid(size, 2 * tokenPixels);

/** Rows and columns of the full-resolution token grid. Throws RangeError where the picture has none. */
export function tokenGrid(
  { width, height }: Size,
  tokenPixels: number,
): { readonly rows: number; readonly cols: number } {
  if (!hasTokenGrid({ width, height }, tokenPixels))
    throw new RangeError(`size is ${width}x${height}; expected multiples of ${tokenPixels} pixels, a token's side`);
  return { rows: height / tokenPixels, cols: width / tokenPixels };
}
