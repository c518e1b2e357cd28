/** Whether a picture shows the grid it was made on. Pure. */
import { requireInteger, requireLength } from '../../src/numerics/bounds.ts';
import { rankGrey } from '../../src/numerics/early.ts';
import { selectStillLow } from '../../src/numerics/select.ts';

/**
 * A step above this is an object's own edge: it counts this much and no more, or a few edges would drown every seam.
 */
const MAX_STEP = 16;

/**
 * Ratio of gradient energy across borders of `block` x `block` pixel blocks to that across the middles of the two
 * blocks beside each, of a grey picture [height * width]; 1: no seams. Of the borders for which `isSeam` says so of the
 * two blocks (numbered row by row); null where there is none.
 *
 * Energies are mean squared differences of neighbouring pixels, plus 1 so that flat pictures have ratio 1. A border and
 * a middle lie the same way on every finer grid (an autoencoder's eight pixels, say), so what that grid leaves cancels
 * and only what has the period of the blocks is left. Laws: 1 for a constant or a uniform gradient; the same for
 * picture + constant; above 1 where blocks differ in level. Throws RangeError unless block is even and divides both
 * sides.
 */
export function seamRatio(
  grey: Uint8Array,
  width: number,
  height: number,
  block: number,
  isSeam: (one: number, other: number) => boolean = () => true,
): number | null {
  requireLength('grey', grey.length, width * height);
  requireInteger('block', block, 2, Math.min(width, height));
  if (block % 2 !== 0 || width % block !== 0 || height % block !== 0)
    throw new RangeError(`block is ${block}; expected an even divisor of width ${width} and height ${height}`);
  const energyAt = (pixel: number, stride: number): number =>
    Math.min(Math.abs(grey[pixel]! - grey[pixel - stride]!), MAX_STEP) ** 2;
  const cols = width / block;
  const sums = { border: 0, middle: 0, count: 0 };
  /**
   * across the border before block `n`, which lies `stride` pixels after the last of the block before it and runs along
   * `along`
   */
  const add = (n: number, stride: number, along: number): void => {
    const corner = Math.floor(n / cols) * block * width + (n % cols) * block;
    const half = (block / 2) * stride;
    for (let pixel = corner; pixel < corner + block * along; pixel += along) {
      sums.border += energyAt(pixel, stride);
      sums.middle += (energyAt(pixel - half, stride) + energyAt(pixel + half, stride)) / 2;
    }
    sums.count += block;
  };
  for (let n = 0; n < cols * (height / block); n++) {
    if (n % cols > 0 && isSeam(n - 1, n)) add(n, 1, width);
    if (n >= cols && isSeam(n - cols, n)) add(n, width, 1);
  }
  return sums.count === 0 ? null : (1 + sums.border / sums.count) / (1 + sums.middle / sums.count);
}

/**
 * seamRatio where a block of `early` lies beside one that is none: where blocks of different resolution met. Null where
 * that is nowhere.
 */
export function meetingSeamRatio(
  grey: Uint8Array,
  width: number,
  height: number,
  block: number,
  early: Uint32Array,
): number | null {
  const isEarly = new Set(early);
  return seamRatio(grey, width, height, block, (one, other) => isEarly.has(one) !== isEarly.has(other));
}

/**
 * [count] the blocks with most of Canny's edge pixels, ascending: those that would have been early if this picture had
 * been looked at.
 */
export const edgeBlocks = (
  grey: Uint8Array,
  width: number,
  height: number,
  { block, count }: { readonly block: number; readonly count: number },
): Uint32Array => selectStillLow(rankGrey(grey, { width, height }, block).ranking, 0, count);
