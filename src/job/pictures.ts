/**
 * The two overlays of a selection, as PNG bytes: both lie exactly over the stage-1 picture, on transparent ground. A
 * pixel is one bit, clear or coloured, so that a picture takes little time and is small inside an event.
 */
import { encode } from 'fast-png';

interface Size {
  readonly width: number;
  readonly height: number;
}

const CLEAR = [0, 0, 0, 0];
const WHITE = [255, 255, 255, 255];
const BLOCK_TINT = [255, 122, 0, 110];

/** White pixels where `edges` [height * width] is not 0. */
export function drawEdges(edges: Uint8Array, size: Size): Uint8Array {
  const { width, height } = size;
  const bits = noBits(size);
  for (let y = 0, i = 0, row = 0; y < height; y++, row += rowBytes(width))
    for (let x = 0; x < width; x++, i++) if (edges[i] !== 0) bits[row + (x >> 3)]! |= 0x80 >> (x & 7);
  return encodeBits(bits, size, WHITE);
}

/** A tint over the chosen blocks: row-major indices on the grid of `block` x `block` pixels. */
export function drawBlocks(indices: readonly number[], size: Size, block: number): Uint8Array {
  const { width } = size;
  const bits = noBits(size);
  const cols = width / block;
  for (const index of indices) {
    const top = Math.floor(index / cols) * block;
    const left = (index % cols) * block;
    for (let y = top; y < top + block; y++)
      for (let x = left; x < left + block; x++) bits[y * rowBytes(width) + (x >> 3)]! |= 0x80 >> (x & 7);
  }
  return encodeBits(bits, size, BLOCK_TINT);
}

const rowBytes = (width: number): number => Math.ceil(width / 8);

/** [height * rowBytes] a bit for each pixel, the leftmost highest, rows filled up to whole bytes. */
const noBits = ({ width, height }: Size): Uint8Array => new Uint8Array(rowBytes(width) * height);

const encodeBits = (data: Uint8Array, size: Size, colour: number[]): Uint8Array =>
  encode({ ...size, data, channels: 1, depth: 1, palette: [CLEAR, colour] });
