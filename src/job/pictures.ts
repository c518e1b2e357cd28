/** The two overlays of a selection, as PNG bytes: both lie exactly over the stage-1 picture, on transparent ground. */
import { encode } from 'fast-png';

interface Size {
  readonly width: number;
  readonly height: number;
}

const BLOCK_TINT = [255, 122, 0, 110] as const;

/** White pixels where `edges` [height * width] is not 0. */
export function drawEdges(edges: Uint8Array, { width, height }: Size): Uint8Array {
  const data = new Uint8Array(width * height * 2);
  for (let i = 0; i < edges.length; i++) if (edges[i]) data.fill(255, 2 * i, 2 * i + 2);
  return encode({ width, height, data, channels: 2 });
}

/** A tint over the chosen blocks: row-major indices on the grid of `block` x `block` pixels. */
export function drawBlocks(indices: readonly number[], { width, height }: Size, block: number): Uint8Array {
  const data = new Uint8Array(width * height * 4);
  const cols = width / block;
  for (const index of indices) {
    const top = Math.floor(index / cols) * block;
    const left = (index % cols) * block;
    for (let y = top; y < top + block; y++)
      for (let x = left; x < left + block; x++) data.set(BLOCK_TINT, (y * width + x) * 4);
  }
  return encode({ width, height, data, channels: 4 });
}
