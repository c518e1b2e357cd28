/**
 * The detector sees in committed scenes what its Python twin sees in them (`scenes/seen.json`, made by
 * lab/detector/train.py), and what was drawn.
 */
import { readFileSync } from 'node:fs';
import { decode } from 'fast-png';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Pixels } from '../../containers/onnx/pixels.ts';
import facts from '../detector/facts.json' with { type: 'json' };
import { type Detector, oklab, openDetector, resample } from '../eval/detect.ts';
import { cases } from './scenes/seen.json' with { type: 'json' };

/** Largest difference from Python: both compute the networks in float32, everything else in float64. */
const TOLERANCE = 1e-3;

function picture(file: string): Pixels {
  const { data, width, height, channels } = decode(readFileSync(new URL(`scenes/${file}`, import.meta.url)));
  expect(channels).toBe(3);
  return { data: Uint8Array.from(data), width, height };
}

let detector: Detector;
beforeAll(async () => {
  detector = await openDetector();
});
afterAll(() => detector.close());

describe.each(cases)('$file, $caption', ({ file, things, seen: reference }) => {
  it('is seen as Python sees it', async () => {
    const seen = await detector.look(picture(file));
    expect(seen.background).toEqual(reference.background);
    expect(seen.objects.map(({ name, colour }) => [name, colour])).toEqual(
      reference.objects.map(({ name, colour }) => [name, colour]),
    );
    seen.objects.forEach((each, i) => {
      for (const key of ['x', 'y', 'side', 'score'] as const)
        expect(Math.abs(each[key] - reference.objects[i]![key])).toBeLessThan(TOLERANCE);
    });
    expect(seen.features).toHaveLength(facts.sizes.features);
    seen.features.forEach((value, i) => {
      expect(Math.abs(value - reference.features[i]!)).toBeLessThan(TOLERANCE);
    });
  });

  it('is seen as it was drawn', async () => {
    const { objects } = await detector.look(picture(file));
    expect(objects.map(({ name }) => name).sort()).toEqual(things.map(({ name }) => name).sort());
    for (const { name, colour, x, y, side } of things) {
      const close = objects.filter(
        (each) => each.name === name && Math.max(Math.abs(each.x - x), Math.abs(each.y - y)) < 0.2 * side,
      );
      expect(close).toHaveLength(1);
      expect(Math.abs(close[0]!.side / side - 1)).toBeLessThan(0.25);
      if (colour) expect(close[0]!.colour).toBe(colour);
    }
  });
});

describe('openDetector', () => {
  it('sees nothing in a plain picture of any of the backgrounds, and its colour', async () => {
    for (const [name, rgb] of Object.entries(facts.backgrounds)) {
      const plain = { width: 96, height: 64, data: Uint8Array.from({ length: 96 * 64 * 3 }, (_, i) => rgb[i % 3]!) };
      expect(await detector.look(plain)).toMatchObject({ objects: [], background: [name] });
    }
  });

  it('names nothing in noise, and no background', async () => {
    let state = 1;
    const noise = Uint8Array.from({ length: 128 * 128 * 3 }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state >>> 24 > 127 ? 255 : 0;
    });
    const { objects, background } = await detector.look({ width: 128, height: 128, data: noise });
    expect(objects.filter(({ name }) => name !== null)).toEqual([]);
    expect(background.every((each) => each === 'gray' || each === 'other')).toBe(true);
  });

  it('brings the moments of as many features as it gives, and a digest', () => {
    const { mean, covariance, count } = detector.reference;
    expect([mean.length, covariance.length]).toEqual([facts.sizes.features, facts.sizes.features ** 2]);
    expect(count).toBeGreaterThanOrEqual(1500);
    expect(detector.digest).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe('resample', () => {
  const random = { width: 13, height: 7, data: Uint8Array.from({ length: 13 * 7 * 3 }, (_, i) => (i * 97) % 256) };

  it('is the identity at the same size', () => {
    const same = resample(random, { x: 0, y: 0, width: 13, height: 7 }, 13, 7);
    expect(Array.from(same.data)).toEqual(Array.from(random.data));
  });

  it('keeps the mean of the whole picture at any size', () => {
    const mean = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b) / values.length;
    for (const [columns, rows] of [
      [5, 3],
      [40, 21],
      [1, 1],
    ] as const)
      expect(mean(resample(random, { x: 0, y: 0, width: 13, height: 7 }, columns, rows).data)).toBeCloseTo(
        mean(random.data),
        9,
      );
  });

  it('repeats the last pixel beyond the picture', () => {
    const { data } = resample(random, { x: -30, y: -20, width: 10, height: 10 }, 2, 2);
    expect(Array.from(data, Math.round)).toEqual([0, 1, 2, 3].flatMap(() => Array.from(random.data.subarray(0, 3))));
  });
});

describe('oklab', () => {
  it('gives the values its author gives for white and red', () => {
    const rounded = (rgb: readonly number[]) => oklab(rgb).map((v) => Math.round(v * 1000) / 1000 + 0);
    expect(rounded([255, 255, 255])).toEqual([1, 0, 0]);
    expect(rounded([255, 0, 0])).toEqual([0.628, 0.225, 0.126]);
  });
});
