/** The token grid under a picture: what sizes have one, and which of them a schedule with stages can use. Pure. */

/** Pixels of a picture. */
export interface Size {
  readonly width: number;
  readonly height: number;
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
