/**
 * Tokens: 2x2 patches of latent pixels, each beside its place and its size. Pure.
 *
 * A token's D = 4 * channels values are packed (c, i, j): index = c * 4 + i * 2 + j. Ids are (0, row, col). Before the
 * last stage they count low-resolution tokens, two full tokens a side, so a full token may stand at a half; in the last
 * stage they count full tokens. A low token and its child (0, 0) share an id: only `scale` tells them apart.
 */
import { requireInteger, requireLength } from './bounds.ts';
import { standardNormals } from './normal.ts';

export interface Tokens {
  /** [n * D] */
  readonly latents: Float32Array;
  /** [n * 3] (0, row, col) */
  readonly imgIds: Float32Array;
  /** [n] full-resolution tokens a side this token stands for: 1 or 2 */
  readonly scale: Uint8Array;
}

/** Values of one token, D. Throws RangeError unless the three arrays agree and D is a multiple of 4. */
export function tokenWidth({ latents, imgIds, scale }: Tokens): number {
  requireLength('imgIds', imgIds.length, 3 * scale.length);
  const width = latents.length / scale.length;
  if (!Number.isInteger(width / 4) || width === 0)
    throw new RangeError(
      `latents has ${latents.length} entries for ${scale.length} tokens; expected a multiple of 4 for each`,
    );
  return width;
}

/** [rows * cols * 3] ids (0, row, col) of a full grid, row by row. */
export function gridIds(rows: number, cols: number): Float32Array {
  checkGrid(rows, cols);
  const ids = new Float32Array(rows * cols * 3);
  for (let n = 0; n < rows * cols; n++) {
    ids[3 * n + 1] = Math.floor(n / cols);
    ids[3 * n + 2] = n % cols;
  }
  return ids;
}

/**
 * Seeded noise, stream 0, on a rows x cols grid of tokens of `values` numbers, all of one scale: 2 on the low grid, 1
 * on the full grid of the plain model.
 */
export function initialTokens({
  rows,
  cols,
  values,
  seed,
  scale,
}: {
  rows: number;
  cols: number;
  values: number;
  seed: number;
  scale: 1 | 2;
}): Tokens {
  const imgIds = gridIds(rows, cols);
  requireInteger('values', values, 4, 2 ** 16);
  if (values % 4 !== 0) throw new RangeError(`values is ${values}; expected a multiple of 4`);
  return {
    latents: standardNormals({ seed, stream: 0, count: rows * cols * values }),
    imgIds,
    scale: new Uint8Array(rows * cols).fill(scale),
  };
}

/**
 * Tokens [rows * cols * 4 channels] of latent pixels [channels, 2 rows, 2 cols], row by row. Law: unpackLatents undoes
 * it.
 */
export function packLatents(
  image: Float32Array,
  { channels, rows, cols }: { channels: number; rows: number; cols: number },
): Float32Array {
  requireLength('image', image.length, channels * rows * cols * 4);
  const packed = new Float32Array(image.length);
  forEachPixel(channels, rows, cols, (pixel, slot) => {
    packed[slot] = image[pixel]!;
  });
  return packed;
}

/** Latent pixels [channels, 2 rows, 2 cols] of tokens [rows * cols * 4 channels], row by row. */
export function unpackLatents(
  packed: Float32Array,
  { channels, rows, cols }: { channels: number; rows: number; cols: number },
): Float32Array {
  requireLength('packed', packed.length, channels * rows * cols * 4);
  const image = new Float32Array(packed.length);
  forEachPixel(channels, rows, cols, (pixel, slot) => {
    image[pixel] = packed[slot]!;
  });
  return image;
}

/** Calls `visit` with the index of every latent pixel and of its slot in the packed tokens. */
function forEachPixel(
  channels: number,
  rows: number,
  cols: number,
  visit: (pixel: number, slot: number) => void,
): void {
  let pixel = 0;
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < 2 * rows; y++) {
      for (let x = 0; x < 2 * cols; x++)
        visit(pixel++, ((y >> 1) * cols + (x >> 1)) * 4 * channels + c * 4 + (y & 1) * 2 + (x & 1));
    }
  }
}

/** The same tokens in the order of (row, col), equal places in the order they had. */
export function sortByPosition(tokens: Tokens): Tokens {
  const width = tokenWidth(tokens);
  const { latents, imgIds, scale } = tokens;
  const order = Uint32Array.from(scale.keys()).sort(
    (a, b) => imgIds[3 * a + 1]! - imgIds[3 * b + 1]! || imgIds[3 * a + 2]! - imgIds[3 * b + 2]! || a - b,
  );
  const sorted = {
    latents: new Float32Array(latents.length),
    imgIds: new Float32Array(imgIds.length),
    scale: new Uint8Array(scale.length),
  };
  for (const [to, from] of order.entries()) {
    sorted.latents.set(latents.subarray(from * width, (from + 1) * width), to * width);
    sorted.imgIds.set(imgIds.subarray(from * 3, (from + 1) * 3), to * 3);
    sorted.scale[to] = scale[from]!;
  }
  return sorted;
}

/** Throws RangeError unless both sides of a grid are whole and of sane size. */
export function checkGrid(rows: number, cols: number): void {
  requireInteger('rows', rows, 1, 2 ** 12);
  requireInteger('cols', cols, 1, 2 ** 12);
}
