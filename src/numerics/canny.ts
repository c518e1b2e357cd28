/**
 * Canny edges, bit for bit as OpenCV's cv::Canny with its defaults: 3x3 Sobel on a replicated border, magnitude |dx| +
 * |dy|, no blur. Pure. Source: OpenCV 4 documentation of cv::Canny; Canny, "A computational approach to edge
 * detection", PAMI 1986. Law: image + constant has the same edges while nothing saturates.
 */
import { requireInteger, requireLength } from './bounds.ts';

/** tan(22.5°) in 15 fractional bits; tan(67.5°) = tan(22.5°) + 2 */
const TAN_22 = 13573;

const CANDIDATE = 1;
const EDGE = 255;

/**
 * [height * width] 255 on an edge, 0 elsewhere, of a grey image [height * width]. A pixel whose magnitude tops its two
 * neighbours along the gradient is an edge above `high`, and above `low` when it hangs together with one (8
 * neighbours). Throws RangeError when sizes disagree, or unless low and high are whole and 0 <= low <= high.
 */
export function canny(
  grey: Uint8Array,
  width: number,
  height: number,
  { low = 100, high = 200 }: { low?: number; high?: number } = {},
): Uint8Array {
  requireInteger('width', width, 1, 2 ** 15);
  requireInteger('height', height, 1, 2 ** 15);
  requireLength('grey', grey.length, width * height);
  requireInteger('low', low, 0, 2 ** 15);
  requireInteger('high', high, low, 2 ** 15);

  // magnitudes and marks have a border of one zero pixel, so no neighbour needs a test
  const stride = width + 2;
  const dx = new Int16Array(stride * (height + 2));
  const dy = new Int16Array(stride * (height + 2));
  const magnitude = new Int16Array(stride * (height + 2));
  for (let y = 0; y < height; y++) {
    const row = y * width;
    const above = y === 0 ? row : row - width;
    const below = y === height - 1 ? row : row + width;
    // column sums (1 2 1) and column differences of three columns, sliding to the right
    let sum0 = grey[above]! + 2 * grey[row]! + grey[below]!;
    let sum1 = sum0;
    let difference0 = grey[below]! - grey[above]!;
    let difference1 = difference0;
    for (let x = 0; x < width; x++) {
      const right = x === width - 1 ? x : x + 1;
      const sum2 = grey[above + right]! + 2 * grey[row + right]! + grey[below + right]!;
      const difference2 = grey[below + right]! - grey[above + right]!;
      const at = (y + 1) * stride + x + 1;
      const gradientX = sum2 - sum0;
      const gradientY = difference0 + 2 * difference1 + difference2;
      dx[at] = gradientX;
      dy[at] = gradientY;
      magnitude[at] = Math.abs(gradientX) + Math.abs(gradientY);
      sum0 = sum1;
      sum1 = sum2;
      difference0 = difference1;
      difference1 = difference2;
    }
  }

  // keep local maxima along the gradient; of two equal neighbours on an axis the left or upper one stays
  const marks = new Uint8Array(magnitude.length);
  const stack = new Uint32Array(width * height);
  let depth = 0;
  for (let y = 1; y <= height; y++) {
    for (let at = y * stride + 1; at <= y * stride + width; at++) {
      const size = magnitude[at]!;
      if (size <= low) continue;
      const gradientX = dx[at]!;
      const gradientY = dy[at]!;
      const across = Math.abs(gradientX);
      const along = Math.abs(gradientY) << 15;
      const flat = across * TAN_22;
      let isMaximum: boolean;
      if (along < flat) {
        isMaximum = size > magnitude[at - 1]! && size >= magnitude[at + 1]!;
      } else if (along > flat + (across << 16)) {
        isMaximum = size > magnitude[at - stride]! && size >= magnitude[at + stride]!;
      } else {
        const diagonal = (gradientX ^ gradientY) < 0 ? stride - 1 : stride + 1;
        isMaximum = size > magnitude[at - diagonal]! && size > magnitude[at + diagonal]!;
      }
      if (!isMaximum) continue;
      if (size > high) {
        marks[at] = EDGE;
        stack[depth++] = at;
      } else {
        marks[at] = CANDIDATE;
      }
    }
  }

  // every candidate reached from an edge is one
  const neighbours = [-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1];
  while (depth > 0) {
    const at = stack[--depth]!;
    for (const offset of neighbours) {
      if (marks[at + offset] !== CANDIDATE) continue;
      marks[at + offset] = EDGE;
      stack[depth++] = at + offset;
    }
  }

  const edges = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) if (marks[(y + 1) * stride + x + 1] === EDGE) edges[y * width + x] = EDGE;
  }
  return edges;
}
