import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { standardNormals } from '../../src/numerics/normal.ts';
import {
  gridIds,
  initialTokens,
  packLatents,
  sortByPosition,
  tokenWidth,
  unpackLatents,
} from '../../src/numerics/tokens.ts';
import { doubleIds, upsampleTokens } from '../../src/numerics/upsample.ts';
import { wholeGrid } from '../../src/numerics/whole-grid.ts';

const side = fc.integer({ min: 1, max: 6 });
const mode = fc.constantFrom('latent' as const, 'token' as const);

/** A low grid of random tokens, and an ascending choice among them. */
const choice = fc
  .record({
    rows: side,
    cols: side,
    channels: fc.integer({ min: 1, max: 4 }),
    seed: fc.nat(1000),
    mask: fc.array(fc.boolean(), { minLength: 36, maxLength: 36 }),
  })
  .map(({ rows, cols, channels, seed, mask }) => ({
    rows,
    cols,
    channels,
    tokens: initialTokens({ rows, cols, values: 4 * channels, seed, scale: 2 }),
    chosen: Uint32Array.from([...Array(rows * cols).keys()].filter((n) => mask[n])),
  }));
const everyToken = (count: number) => Uint32Array.from({ length: count }, (_, n) => n);

/** Means of the four equal values of every group: [parent * D]. */
function pool(children: Float32Array, width: number, layout: 'latent' | 'token'): Float32Array {
  const pooled = new Float32Array(children.length / 4);
  for (let parent = 0; parent < pooled.length / width; parent++) {
    for (let slot = 0; slot < width; slot++) {
      const [c, child] = [slot - (slot % 4), slot % 4];
      const members = [0, 1, 2, 3].map((i) =>
        layout === 'latent'
          ? children[(4 * parent + child) * width + c + i]!
          : children[(4 * parent + i) * width + slot]!,
      );
      pooled[parent * width + slot] = members.reduce((sum, value) => sum + value) / 4;
    }
  }
  return pooled;
}

describe('grids', () => {
  it('ids count rows and columns from 0, row by row', () => {
    expect([...gridIds(2, 3)]).toEqual([0, 0, 0, 0, 0, 1, 0, 0, 2, 0, 1, 0, 0, 1, 1, 0, 1, 2]);
    expect([...gridIds(1, 1)]).toEqual([0, 0, 0]);
  });

  it('the first tokens are stream 0 of the seed on the grid', () => {
    const { latents, imgIds, scale } = initialTokens({ rows: 3, cols: 2, values: 8, seed: 9, scale: 2 });
    expect(latents).toEqual(standardNormals({ seed: 9, stream: 0, count: 48 }));
    expect(imgIds).toEqual(gridIds(3, 2));
    expect([...scale]).toEqual([2, 2, 2, 2, 2, 2]);
    expect([...initialTokens({ rows: 1, cols: 1, values: 4, seed: 0, scale: 1 }).scale]).toEqual([1]);
  });

  it('sizes that are not positive whole numbers are refused by name', () => {
    expect(() => gridIds(0, 3)).toThrow('rows is 0');
    expect(() => gridIds(3, 1.5)).toThrow('cols is 1.5');
    expect(() => initialTokens({ rows: 1, cols: 1, values: Number.NaN, seed: 0, scale: 2 })).toThrow('values is NaN');
    expect(() => initialTokens({ rows: 1, cols: 1, values: 6, seed: 0, scale: 2 })).toThrow(
      'values is 6; expected a multiple of 4',
    );
    expect(() => initialTokens({ rows: 1, cols: 1, values: 4, seed: -1, scale: 2 })).toThrow('seed is -1');
  });
});

describe('packing', () => {
  it('unpack undoes pack', () => {
    fc.assert(
      fc.property(choice, ({ rows, cols, channels, tokens }) => {
        const image = unpackLatents(tokens.latents, { channels, rows, cols });
        const packed = packLatents(image, { channels, rows, cols });
        return packed.every((value, i) => value === tokens.latents[i]);
      }),
      { seed: 1 },
    );
  });

  it('puts pixel (c, 2 row + i, 2 col + j) in slot c * 4 + i * 2 + j of token (row, col)', () => {
    // two channels of 2 x 4 pixels: channel 0 is 0 … 7, channel 1 is 10 … 17
    const image = Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17);
    expect([...packLatents(image, { channels: 2, rows: 1, cols: 2 })]).toEqual([
      0, 1, 4, 5, 10, 11, 14, 15, 2, 3, 6, 7, 12, 13, 16, 17,
    ]);
  });

  it('another number of values than the grid holds is refused', () => {
    expect(() => packLatents(new Float32Array(15), { channels: 1, rows: 2, cols: 2 })).toThrow(
      'image has 15 entries; expected 16',
    );
    expect(() => unpackLatents(new Float32Array(15), { channels: 1, rows: 2, cols: 2 })).toThrow(
      'packed has 15 entries; expected 16',
    );
  });
});

describe('upsampling', () => {
  it('then pooling each group of four equal values gives the parent back, in both modes, and the four values are equal', () => {
    fc.assert(
      fc.property(choice, mode, ({ tokens, chosen }, layout) => {
        const width = tokenWidth(tokens);
        const { latents } = upsampleTokens(tokens, chosen, layout);
        const pooled = pool(latents.subarray(latents.length - 4 * chosen.length * width), width, layout);
        return pooled.every(
          (value, i) => value === tokens.latents[chosen[Math.floor(i / width)]! * width + (i % width)],
        );
      }),
      { seed: 2 },
    );
  });

  it('keeps the others first and in order, then writes children (0,0) (0,½) (½,0) (½,½) of each parent, at scale 1', () => {
    const tokens = initialTokens({ rows: 1, cols: 3, values: 4, seed: 1, scale: 2 });
    const { latents, imgIds, scale } = upsampleTokens(tokens, Uint32Array.of(1), 'latent');
    expect([...imgIds]).toEqual([0, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0, 1.5, 0, 0.5, 1, 0, 0.5, 1.5]);
    expect([...scale]).toEqual([2, 2, 1, 1, 1, 1]);
    const [a, b, c, d] = tokens.latents.subarray(4, 8);
    expect([...latents]).toEqual([
      ...tokens.latents.subarray(0, 4),
      ...tokens.latents.subarray(8),
      a,
      a,
      a,
      a,
      b,
      b,
      b,
      b,
      c,
      c,
      c,
      c,
      d,
      d,
      d,
      d,
    ]);
    expect([...upsampleTokens(tokens, Uint32Array.of(1), 'token').latents.subarray(8)]).toEqual([
      a,
      b,
      c,
      d,
      a,
      b,
      c,
      d,
      a,
      b,
      c,
      d,
      a,
      b,
      c,
      d,
    ]);
  });

  it('in latent mode is nearest neighbour on latent pixels', () => {
    fc.assert(
      fc.property(choice, ({ rows, cols, channels, tokens }) => {
        const all = sortByPosition(upsampleTokens(tokens, everyToken(rows * cols), 'latent'));
        const small = unpackLatents(tokens.latents, { channels, rows, cols });
        const large = unpackLatents(all.latents, { channels, rows: 2 * rows, cols: 2 * cols });
        return large.every((value, i) => {
          const [x, y, c] = [
            i % (4 * cols),
            Math.floor(i / (4 * cols)) % (4 * rows),
            Math.floor(i / (16 * rows * cols)),
          ];
          return value === small[(c * 2 * rows + (y >> 1)) * 2 * cols + (x >> 1)];
        });
      }),
      { seed: 3 },
    );
  });

  it('of all tokens in any number of rounds, sorted and doubled, has the ids of the full grid', () => {
    fc.assert(
      fc.property(choice, mode, ({ rows, cols, tokens, chosen }, layout) => {
        const mixed = upsampleTokens(tokens, chosen, layout);
        const all = upsampleTokens(mixed, everyToken(rows * cols - chosen.length), layout);
        const ids = sortByPosition({ ...all, imgIds: doubleIds(all.imgIds) }).imgIds;
        return gridIds(2 * rows, 2 * cols).every((id, i) => id === ids[i]) && !all.scale.includes(2);
      }),
      { seed: 4 },
    );
  });

  it('of no token changes nothing', () => {
    const tokens = initialTokens({ rows: 2, cols: 2, values: 4, seed: 1, scale: 2 });
    expect(upsampleTokens(tokens, new Uint32Array(0), 'latent')).toEqual(tokens);
  });

  it('refuses a choice out of range, out of order, twice the same or already full, and arrays that disagree', () => {
    const tokens = initialTokens({ rows: 1, cols: 3, values: 4, seed: 1, scale: 2 });
    const mixed = upsampleTokens(tokens, Uint32Array.of(0), 'latent');
    expect(() => upsampleTokens(tokens, Uint32Array.of(3), 'latent')).toThrow(
      'chosen[0] is 3; expected a whole number from 0 to 2',
    );
    expect(() => upsampleTokens(tokens, Uint32Array.of(1, 0), 'latent')).toThrow('chosen[1] is 0');
    expect(() => upsampleTokens(tokens, Uint32Array.of(1, 1), 'latent')).toThrow('chosen[1] is 1');
    expect(() => upsampleTokens(mixed, Uint32Array.of(2), 'latent')).toThrow(
      'chosen[0] is 2, a token of scale 1; expected one of scale 2',
    );
    expect(() => upsampleTokens({ ...tokens, imgIds: new Float32Array(3) }, Uint32Array.of(0), 'latent')).toThrow(
      'imgIds has 3 entries; expected 9',
    );
    expect(() => upsampleTokens({ ...tokens, latents: new Float32Array(13) }, Uint32Array.of(0), 'latent')).toThrow(
      'latents has 13 entries for 3 tokens',
    );
    expect(() =>
      tokenWidth({ latents: new Float32Array(0), imgIds: new Float32Array(0), scale: new Uint8Array(0) }),
    ).toThrow(RangeError);
  });
});

describe('sorting by position', () => {
  it('undoes any shuffle, and carries latents, ids and scale together', () => {
    fc.assert(
      fc.property(choice, fc.array(fc.nat(35), { minLength: 8, maxLength: 8 }), ({ tokens, rows, cols }, swaps) => {
        const order = [...everyToken(rows * cols)];
        for (const [i, j] of swaps.entries())
          if (i < order.length && j < order.length) [order[i], order[j]] = [order[j]!, order[i]!];
        const width = tokenWidth(tokens);
        const shuffled = {
          latents: Float32Array.from(order.flatMap((n) => [...tokens.latents.subarray(n * width, (n + 1) * width)])),
          imgIds: Float32Array.from(order.flatMap((n) => [...tokens.imgIds.subarray(3 * n, 3 * n + 3)])),
          scale: tokens.scale,
        };
        const sorted = sortByPosition(shuffled);
        return (
          sorted.latents.every((value, i) => value === tokens.latents[i]) &&
          sorted.imgIds.every((id, i) => id === tokens.imgIds[i])
        );
      }),
      { seed: 5 },
    );
  });

  it('leaves tokens at one place in the order they had: a low token before its first child', () => {
    const shared = {
      latents: Float32Array.of(1, 1, 1, 1, 2, 2, 2, 2),
      imgIds: new Float32Array(6),
      scale: Uint8Array.of(2, 1),
    };
    expect(sortByPosition(shared)).toEqual(shared);
  });
});

describe('the grid of whole places', () => {
  it('is the low grid before and after some of it is upsampled, and the full grid where ids count full tokens', () => {
    fc.assert(
      fc.property(choice, ({ rows, cols, tokens, chosen }) => {
        // in token mode every child is its parent
        const mixed = upsampleTokens(tokens, chosen, 'token');
        expect(wholeGrid(tokens, rows, cols)).toEqual(tokens.latents);
        expect(wholeGrid(mixed, rows, cols)).toEqual(tokens.latents);
        const final = upsampleTokens(tokens, everyToken(rows * cols), 'latent');
        const full = { ...final, imgIds: doubleIds(final.imgIds) };
        expect(wholeGrid(full, 2 * rows, 2 * cols)).toEqual(sortByPosition(final).latents);
      }),
      { seed: 6 },
    );
  });

  it('has of a block its first child, and nothing of the others', () => {
    const tokens = initialTokens({ rows: 1, cols: 2, values: 4, seed: 1, scale: 2 });
    const mixed = upsampleTokens(tokens, Uint32Array.of(1), 'latent');
    const [low, child] = [mixed.latents.slice(0, 4), mixed.latents.slice(4, 8)];
    mixed.latents.fill(Number.NaN, 8);
    expect(wholeGrid(mixed, 1, 2)).toEqual(Float32Array.of(...low, ...child));
  });

  it('refuses a place left empty, taken twice or outside, a low token at a half and NaN', () => {
    const tokens = initialTokens({ rows: 1, cols: 2, values: 4, seed: 1, scale: 2 });
    const moved = (row: number, col: number) => ({ ...tokens, imgIds: Float32Array.of(0, 0, 0, 0, row, col) });
    expect(() => wholeGrid(tokens, 1, 3)).toThrow(
      'imgIds has no token at (0, 2); expected every place of the 1 x 3 grid exactly once',
    );
    expect(() => wholeGrid(moved(0, 0), 1, 2)).toThrow('imgIds has token 1 at (0, 0)');
    expect(() => wholeGrid(moved(1, 1), 1, 2)).toThrow('imgIds has token 1 at (1, 1)');
    expect(() => wholeGrid(moved(0, -1), 1, 2)).toThrow(RangeError);
    expect(() => wholeGrid(moved(0, 0.5), 1, 2)).toThrow('imgIds has token 1 at (0, 0.5)');
    expect(() => wholeGrid(moved(Number.NaN, 1), 1, 2)).toThrow(RangeError);
    expect(() => wholeGrid({ ...moved(0, 1.25), scale: Uint8Array.of(2, 1) }, 1, 2)).toThrow(RangeError);
    expect(() => wholeGrid(tokens, 0, 2)).toThrow('rows is 0');
  });
});
