/** Which tokens of a set make its picture, laid out as a decoder takes them. Pure. */
import { checkGrid, type Tokens, tokenWidth } from './tokens.ts';

/**
 * [rows * cols * D] latents of the tokens at whole places, row by row: all of a grid of one resolution; of a mixed one
 * the low tokens, and for the four children of a block its child (0, 0).
 *
 * A model is told where a token stands, not how large it is: a full token of a mixed grid is painted as a low one would
 * be there. So the four children of a block are four views of the low content, half a token apart, no quarters of it,
 * and the child at the parent's own place is the low token. Four of them beside each other at full size show everything
 * twice.
 *
 * Law: a mixed set gives at each place what the low set would, wherever child (0, 0) holds its parent's values. Throws
 * RangeError unless every place of the rows x cols grid, counted in ids, has exactly one token.
 */
export function wholeGrid(tokens: Tokens, rows: number, cols: number): Float32Array {
  checkGrid(rows, cols);
  const width = tokenWidth(tokens);
  const { latents, imgIds, scale } = tokens;
  const grid = new Float32Array(rows * cols * width);
  const isFilled = new Uint8Array(rows * cols);
  const expected = `expected every place of the ${rows} x ${cols} grid exactly once`;
  for (const [n, side] of scale.entries()) {
    const row = imgIds[3 * n + 1]!;
    const col = imgIds[3 * n + 2]!;
    // children at halves of their parent's place
    if (side === 1 && Number.isInteger(2 * row) && Number.isInteger(2 * col) && (row % 1 !== 0 || col % 1 !== 0))
      continue;
    const isInside = Number.isInteger(row) && Number.isInteger(col) && row >= 0 && row < rows && col >= 0 && col < cols;
    if (!isInside || isFilled[row * cols + col] === 1)
      throw new RangeError(`imgIds has token ${n} at (${row}, ${col}); ${expected}`);
    isFilled[row * cols + col] = 1;
    grid.set(latents.subarray(n * width, (n + 1) * width), (row * cols + col) * width);
  }
  const missing = isFilled.indexOf(0);
  if (missing >= 0)
    throw new RangeError(`imgIds has no token at (${Math.floor(missing / cols)}, ${missing % cols}); ${expected}`);
  return grid;
}
