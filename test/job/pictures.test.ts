import { convertIndexedToRgb, decode } from 'fast-png';
import { describe, expect, test } from 'vitest';
import { drawBlocks, drawEdges } from '../../src/job/pictures.ts';

/** RGBA bytes of a PNG. */
const pixelsOf = (png: Uint8Array): number[] => [...convertIndexedToRgb(decode(png))];

const CLEAR = [0, 0, 0, 0];
const WHITE = [255, 255, 255, 255];
const TINT = [255, 122, 0, 110];

describe('edges', () => {
  test.each([
    [1, 1],
    [7, 3],
    [8, 2],
    [17, 5],
    [64, 64],
  ])('are white where they are, on transparent ground: %i x %i', (width, height) => {
    const edges = Uint8Array.from({ length: width * height }, (_, i) => ((i * i) % 7 < 3 ? 255 : 0));
    const png = drawEdges(edges, { width, height });
    expect(decode(png)).toMatchObject({ width, height });
    expect(pixelsOf(png)).toEqual([...edges].flatMap((edge) => (edge ? WHITE : CLEAR)));
  });
});

describe('blocks', () => {
  test.each([
    [16, { width: 64, height: 32 }],
    [4, { width: 20, height: 12 }],
    [8, { width: 40, height: 24 }],
  ])('of %i pixels a side are tinted, on transparent ground: %o', (block, size) => {
    const indices = [0, 3, 6];
    const png = drawBlocks(indices, size, block);
    const cols = size.width / block;
    const expected = Array.from({ length: size.width * size.height }, (_, i) => {
      const [x, y] = [i % size.width, Math.floor(i / size.width)];
      return indices.includes(Math.floor(y / block) * cols + Math.floor(x / block)) ? TINT : CLEAR;
    });
    expect(pixelsOf(png)).toEqual(expected.flat());
  });
});
