/** How steep a picture's edges are. Pure. */
import { requireLength } from '../../src/numerics/bounds.ts';
import { canny } from '../../src/numerics/canny.ts';

/** Canny's thresholds on the L1 Sobel magnitude: half of those of the selection, so that softened edges still count. */
const LOW = 50;
const HIGH = 100;
/** grey levels a pixel of a Sobel response: its weights times their distances sum to 8 */
const SOBEL = 8;

export interface Sharpness {
  /** mean gradient magnitude at edge pixels, grey levels a pixel; null where the picture has no edge */
  readonly gradient: number | null;
  /** share of the pixels that are on an edge */
  readonly edges: number;
}

/**
 * Steepness of the edges of a grey picture [height * width]: Sobel gradient averaged over Canny's edge pixels. The
 * picture's outermost pixels are left out. Laws: a step of h levels has gradient h / 2; adding a constant changes
 * nothing; blur lowers the gradient.
 */
export function sharpnessOf(grey: Uint8Array, width: number, height: number): Sharpness {
  requireLength('grey', grey.length, width * height);
  const edges = canny(grey, width, height, { low: LOW, high: HIGH });
  let sum = 0;
  let count = 0;
  for (let y = 1; y < height - 1; y++) {
    for (let at = y * width + 1; at < y * width + width - 1; at++) {
      if (edges[at] === 0) continue;
      const down = at + width;
      const up = at - width;
      const dx =
        grey[up + 1]! - grey[up - 1]! + 2 * (grey[at + 1]! - grey[at - 1]!) + grey[down + 1]! - grey[down - 1]!;
      const dy = grey[down - 1]! - grey[up - 1]! + 2 * (grey[down]! - grey[up]!) + grey[down + 1]! - grey[up + 1]!;
      sum += Math.hypot(dx, dy) / SOBEL;
      count += 1;
    }
  }
  return { gradient: count === 0 ? null : sum / count, edges: count / (width * height) };
}
