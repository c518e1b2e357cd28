/** A mixed set of tokens laid out as the full grid that a decoder takes. Pure. */
import { checkGrid, type Tokens, tokenWidth } from './tokens.ts';
import { fillChild } from './upsample.ts';

/**
 * [rows * cols * D] the full grid of latents, row by row, of a mixed set: full tokens where they stand, low tokens
 * enlarged by nearest neighbour on latent pixels. `unit` is how many full tokens one id step spans: 2 before the last
 * stage, 1 in it. Throws RangeError unless the tokens cover every cell of the grid exactly once.
 */
export function fillGrid(tokens: Tokens, rows: number, cols: number, unit: 1 | 2): Float32Array {
  checkGrid(rows, cols);
  const width = tokenWidth(tokens);
  const { latents, imgIds, scale } = tokens;
  const grid = new Float32Array(rows * cols * width);
  const isFilled = new Uint8Array(rows * cols);
  const claim = (row: number, col: number) => {
    const cell = row * cols + col;
    if (!(row >= 0 && row < rows && col >= 0 && col < cols) || isFilled[cell] !== 0) {
      throw new RangeError(
        `imgIds has a token over cell (${row}, ${col}); expected every cell of the ${rows} x ${cols} grid exactly once`,
      );
    }
    isFilled[cell] = 1;
    return cell * width;
  };
  for (const [n, side] of scale.entries()) {
    const row = imgIds[3 * n + 1]! * unit;
    const col = imgIds[3 * n + 2]! * unit;
    if (side === 1) {
      grid.set(latents.subarray(n * width, (n + 1) * width), claim(row, col));
    } else if (side === 2) {
      for (let child = 0; child < 4; child++)
        fillChild(
          grid,
          claim(row + (child >> 1), col + (child & 1)),
          latents.subarray(n * width, (n + 1) * width),
          child,
          'latent',
        );
    } else {
      throw new RangeError(`scale[${n}] is ${side}; expected 1 or 2`);
    }
  }
  const missing = isFilled.indexOf(0);
  if (missing >= 0)
    throw new RangeError(
      `imgIds has no token over cell (${Math.floor(missing / cols)}, ${missing % cols}); expected every cell of the ${rows} x ${cols} grid exactly once`,
    );
  return grid;
}
