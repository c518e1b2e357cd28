/** Whether a picture shows the grid it was made on. Pure. */
import { requireInteger, requireLength } from '../../src/numerics/bounds.ts';

/** A step above this is an object's own edge: it counts this much and no more, or a few edges would drown every seam. */
const MAX_STEP = 16;

/**
 * Ratio of gradient energy across the borders of `block` x `block` pixel blocks to that across the blocks' middles, of a grey picture [height * width]; 1: no seams.
 *
 * Energies are mean squared differences of neighbouring pixels, plus 1 so that flat pictures have ratio 1. A border and a middle lie the same way on every finer grid (an
 * autoencoder's eight pixels, say), so what that grid leaves cancels and only what has the period of the blocks is left.
 * Laws: 1 for a constant or a uniform gradient; the same for picture + constant; above 1 where blocks differ in level. Throws RangeError unless block is even and divides both sides.
 */
export function seamRatio(grey: Uint8Array, width: number, height: number, block: number): number {
  requireLength('grey', grey.length, width * height);
  requireInteger('block', block, 2, Math.min(width, height));
  if (block % 2 !== 0 || width % block !== 0 || height % block !== 0) throw new RangeError(`block is ${block}; expected an even divisor of width ${width} and height ${height}`);
  const energy = [0, 0];
  const count = [0, 0];
  const half = block / 2;
  const add = (line: number, step: number): void => {
    const kind = line % block === 0 ? 0 : 1;
    energy[kind]! += Math.min(Math.abs(step), MAX_STEP) ** 2;
    count[kind]! += 1;
  };
  for (let y = 0; y < height; y++) for (let x = half; x < width; x += half) add(x, grey[y * width + x]! - grey[y * width + x - 1]!);
  for (let y = half; y < height; y += half) for (let x = 0; x < width; x++) add(y, grey[y * width + x]! - grey[(y - 1) * width + x]!);
  const [border, middle] = energy.map((sum, kind) => 1 + sum / Math.max(1, count[kind]!));
  return border! / middle!;
}
