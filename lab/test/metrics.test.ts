import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { decode } from 'fast-png';
import { describe, expect, it } from 'vitest';
import { standardNormals } from '../../src/numerics/normal.ts';
import { bootstrapInterval } from '../eval/bootstrap.ts';
import { msSsimDistance } from '../eval/distance.ts';
import { frechetTo, type Moments, momentsOf } from '../eval/frechet.ts';
import { edgeBlocks, meetingSeamRatio, seamRatio } from '../eval/seams.ts';
import { sharpnessOf } from '../eval/sharpness.ts';

const golden = (name: string): Uint8Array =>
  Uint8Array.from(decode(readFileSync(new URL(`../../test/golden/${name}.png`, import.meta.url))).data);

/** Features that another program can make without a generator: n vectors [d]. */
const waves = (n: number, d: number, phase: number): number[][] =>
  Array.from({ length: n }, (_, i) =>
    Array.from(
      { length: d },
      (_, k) => Math.sin(phase + (i + 1) * (k + 1) * 0.7 + ((i * i) % 17) * 0.3) * (1 + k / 4) + phase * 0.1 * k,
    ),
  );

const gaussian = (count: number, size: number, seed: number): Float32Array[] =>
  Array.from({ length: count }, (_, i) =>
    standardNormals({ seed, stream: 1, count: size, offset: i * size }).map((value, k) => value * (1 + k) + seed),
  );

describe('the Fréchet distance', () => {
  const a = momentsOf(gaussian(40, 5, 1));
  const b = momentsOf(gaussian(30, 5, 2));

  it('is 0 between equal sets and the same both ways round', () => {
    expect(frechetTo(a)(a)).toBeLessThan(1e-9);
    expect(frechetTo(a)(b)).toBeGreaterThan(1);
    expect(frechetTo(a)(b)).toBeCloseTo(frechetTo(b)(a), 9);
  });

  it('of a shifted set is the square of the shift', () => {
    const shifted: Moments = { ...a, mean: a.mean.map((value, k) => value + k) };
    expect(frechetTo(a)(shifted)).toBeCloseTo(0 + 1 + 4 + 9 + 16, 9);
  });

  it('in one dimension is (m1 - m2)² + (s1 - s2)²', () => {
    const one = (mean: number, deviation: number): Moments => ({
      mean: Float64Array.of(mean),
      covariance: Float64Array.of(deviation ** 2),
      count: 9,
    });
    fc.assert(
      fc.property(
        fc.double({ min: -5, max: 5, noNaN: true }),
        fc.double({ min: 0, max: 5, noNaN: true }),
        fc.double({ min: 0, max: 5, noNaN: true }),
        (mean, s, t) => {
          expect(frechetTo(one(0, s))(one(mean, t))).toBeCloseTo(mean ** 2 + (s - t) ** 2, 9);
        },
      ),
      { seed: 1 },
    );
  });

  it('does not change when both sets are rotated', () => {
    const turn = (feature: ArrayLike<number>): number[] => {
      const values = Array.from(feature);
      return [
        0.6 * values[0]! - 0.8 * values[3]!,
        values[4]!,
        values[2]!,
        0.8 * values[0]! + 0.6 * values[3]!,
        -values[1]!,
      ];
    };
    const turned = frechetTo(momentsOf(gaussian(40, 5, 1).map(turn)))(momentsOf(gaussian(30, 5, 2).map(turn)));
    expect(turned).toBeCloseTo(frechetTo(a)(b), 6);
  });

  it('bears fewer samples than dimensions', () => {
    const few = momentsOf(gaussian(4, 12, 3));
    expect(frechetTo(few)(few)).toBeLessThan(1e-6 * few.covariance.reduce((sum, value) => sum + Math.abs(value), 0));
  });

  // numpy 2.4.6 and scipy 1.17.1: |m1 - m2|² + tr(C1 + C2) - 2 tr(scipy.linalg.sqrtm(C1 @ C2)), C = numpy.cov
  it('is scipy’s', () => {
    expect(frechetTo(momentsOf(waves(50, 6, 0.2)))(momentsOf(waves(60, 6, 1.1)))).toBeCloseTo(0.7081960002563079, 8);
    expect(frechetTo(momentsOf(waves(40, 12, 0.2)))(momentsOf(waves(40, 12, 1.1)))).toBeCloseTo(6.271158762561839, 6);
  });

  it('refuses one sample, and vectors of different lengths', () => {
    expect(() => momentsOf([[1, 2]])).toThrow(RangeError);
    expect(() => momentsOf([[1, 2], [1]])).toThrow('features[1] has 1 entries; expected 2');
    expect(() => frechetTo(a)(momentsOf(gaussian(4, 3, 1)))).toThrow(RangeError);
  });
});

/** A grey picture from a function of x and y. */
const picture = (width: number, height: number, level: (x: number, y: number) => number): Uint8Array =>
  Uint8Array.from({ length: width * height }, (_, i) => level(i % width, Math.floor(i / width)));

describe('sharpness', () => {
  it('of a step is half its height, wherever it lies and however bright it is', () => {
    for (const height of [60, 120, 200]) {
      const across = picture(32, 32, (x) => (x < 13 ? 20 : 20 + height));
      const down = picture(32, 32, (_, y) => (y < 9 ? 55 + height : 55));
      expect(sharpnessOf(across, 32, 32).gradient).toBeCloseTo(height / 2, 9);
      expect(sharpnessOf(down, 32, 32).gradient).toBeCloseTo(height / 2, 9);
    }
  });

  it('falls when the step is drawn over several pixels', () => {
    const soft = (width: number) =>
      sharpnessOf(
        picture(48, 16, (x) => 30 + 180 * Math.min(1, Math.max(0, (x - 20) / width))),
        48,
        16,
      ).gradient!;
    expect(soft(2)).toBeGreaterThan(soft(4));
    expect(soft(4)).toBeGreaterThan(soft(6));
  });

  it('of a picture without edges is unknown', () => {
    expect(sharpnessOf(new Uint8Array(256).fill(90), 16, 16)).toEqual({ gradient: null, edges: 0 });
  });
});

describe('seams', () => {
  const face = golden('face');

  it('are 1 in a flat picture, in a gradient, and after adding a constant as before', () => {
    expect(seamRatio(new Uint8Array(64 * 64).fill(7), 64, 64, 16)).toBe(1);
    expect(
      seamRatio(
        picture(64, 64, (x, y) => x + 2 * y),
        64,
        64,
        16,
      ),
    ).toBeCloseTo(1, 12);
    const dim = face.map((value) => value >> 1);
    expect(
      seamRatio(
        dim.map((value) => value + 90),
        512,
        512,
        16,
      ),
    ).toBe(seamRatio(dim, 512, 512, 16));
  });

  it('are near 1 in a photograph and well above where its blocks differ in level', () => {
    expect(Math.abs(seamRatio(face, 512, 512, 16)! - 1)).toBeLessThan(0.1);
    const tiled = face.map((value, i) => Math.min(255, value + 6 * ((((i % 512) >> 4) + (i >> 13)) % 2)));
    expect(seamRatio(tiled, 512, 512, 16)).toBeGreaterThan(1.15);
  });

  it('of a finer grid cancel', () => {
    // steps every 8 pixels fall on borders and middles of 16-pixel blocks alike
    const grid = picture(128, 128, (x, y) => 100 + 5 * (((x >> 3) + (y >> 3)) % 2));
    expect(seamRatio(grid, 128, 128, 16)).toBeCloseTo(1, 12);
    expect(seamRatio(grid, 128, 128, 8)).toBeGreaterThan(10);
  });

  it('where blocks meet are those between an early and a late one, and no others', () => {
    // levels of 32-pixel blocks; only block 5 differs from its four neighbours
    const one = picture(128, 128, (x, y) => (x >> 5 === 1 && y >> 5 === 1 ? 110 : 100));
    const meeting = (...early: number[]) => meetingSeamRatio(one, 128, 128, 32, Uint32Array.from(early));
    expect(meeting(5)).toBeCloseTo(1 + 10 ** 2, 12);
    expect(meeting(15)).toBe(1);
    expect(meeting(5, 15)).toBeCloseTo(1 + (4 * 10 ** 2) / 6, 12);
    expect(meeting()).toBeNull();
    expect(meeting(...Array(16).keys())).toBeNull();
    fc.assert(
      fc.property(fc.subarray([...Array(16).keys()]), (early) => {
        const late = [...Array(16).keys()].filter((n) => !early.includes(n));
        expect(meeting(...early)).toEqual(meeting(...late));
      }),
      { seed: 1, numRuns: 30 },
    );
  });

  it('of a single block are nowhere', () => {
    expect(seamRatio(new Uint8Array(16 * 16), 16, 16, 16)).toBeNull();
  });

  it('look, without early blocks, at those with most edges', () => {
    const square = picture(128, 128, (x, y) => (x > 70 && x < 90 && y > 40 && y < 60 ? 200 : 20));
    expect([...edgeBlocks(square, 128, 128, { block: 32, count: 1 })]).toEqual([6]);
  });

  it('refuse blocks that do not fill the picture', () => {
    expect(() => seamRatio(new Uint8Array(60 * 64), 60, 64, 16)).toThrow(
      'block is 16; expected an even divisor of width 60 and height 64',
    );
  });
});

describe('the structural distance', () => {
  const ascent = golden('ascent');
  const face = golden('face');
  const grid = (grey: Uint8Array) =>
    grey.map((value, i) => Math.min(255, Math.max(0, value + (((i % 512) * 7 + (i >> 9) * 13) % 64) - 32)));
  const rolled = (grey: Uint8Array) => grey.map((_, i) => grey[(i & ~511) + ((i + 509) & 511)]!);

  it('is 0 between a picture and itself, and the same both ways round', () => {
    expect(msSsimDistance(face, face, 512, 512)).toBe(0);
    expect(msSsimDistance(face, ascent, 512, 512)).toBeCloseTo(msSsimDistance(ascent, face, 512, 512), 12);
    expect(msSsimDistance(face, ascent, 512, 512)).toBeGreaterThan(0.5);
  });

  // pytorch-msssim 1.0.0, torch 2.13.0, float64: 1 - ms_ssim(a, b, data_range=255); its window is float32
  it('is pytorch-msssim’s', () => {
    expect(msSsimDistance(face, grid(face), 512, 512)).toBeCloseTo(0.08650548548461834, 5);
    expect(msSsimDistance(ascent, grid(ascent), 512, 512)).toBeCloseTo(0.15074855204848592, 5);
    expect(msSsimDistance(face, rolled(face), 512, 512)).toBeCloseTo(0.3189585334910664, 5);
    expect(msSsimDistance(ascent, rolled(ascent), 512, 512)).toBeCloseTo(0.2773784773463607, 5);
  });

  it('refuses pictures smaller than its coarsest window', () => {
    expect(() => msSsimDistance(new Uint8Array(160 * 200), new Uint8Array(160 * 200), 160, 200)).toThrow(
      'width is 160; expected a whole number from 161',
    );
  });
});

describe('the bootstrap', () => {
  const mean = (groups: readonly (readonly number[])[]): number =>
    groups.reduce((sum, group) => sum + group.reduce((all, value) => all + value, 0) / group.length / groups.length, 0);

  it('has no width where all members are equal, and says the same twice', () => {
    expect(
      bootstrapInterval(
        [
          [1, 1, 1],
          [0, 0],
        ],
        mean,
      ),
    ).toEqual({ low: 0.5, high: 0.5 });
    const groups = [Array.from({ length: 40 }, (_, i) => i % 3), [1, 2, 3]];
    expect(bootstrapInterval(groups, mean)).toEqual(bootstrapInterval(groups, mean));
  });

  it('of a share is about as wide as the binomial law says', () => {
    const { low, high } = bootstrapInterval([Array.from({ length: 400 }, (_, i) => (i % 4 === 0 ? 1 : 0))], mean);
    const deviation = Math.sqrt((0.25 * 0.75) / 400);
    expect((high - low) / (2 * 1.96 * deviation)).toBeGreaterThan(0.92);
    expect((high - low) / (2 * 1.96 * deviation)).toBeLessThan(1.08);
    expect((low + high) / 2).toBeCloseTo(0.25, 1);
  });
});
