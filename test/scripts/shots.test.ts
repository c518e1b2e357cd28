/** The clip of the page: how its frames are paced. */
import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { UsageError } from '../../scripts/local/command-line.ts';
import { animate, pace } from '../../scripts/shots/clip.ts';
import { parseOptions } from '../../scripts/shots/options.ts';

const frames = fc
  .array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 60 })
  .map((gaps) => gaps.map((_, i) => ({ number: i, at: 1_000_000 + gaps.slice(0, i + 1).reduce((a, b) => a + b, 0) })));

describe('the frames of a clip', () => {
  test('take as long as what they show, and end with the last, which stays', () => {
    fc.assert(
      fc.property(frames, (all) => {
        const { shown, delays } = pace(all);
        const [first, last] = [all[0]!.at, all.at(-1)!];
        expect(shown.at(-1)).toMatchObject({ number: last.number });
        expect(delays.reduce((a, b) => a + b, 0)).toBe(last.at - first + 2000);
        expect(delays.at(-1)).toBeGreaterThanOrEqual(2000);
      }),
    );
  });

  test('are never shorter than a tenth of a second', () => {
    fc.assert(
      fc.property(frames, (all) => {
        expect(Math.min(...pace(all).delays)).toBeGreaterThanOrEqual(100);
      }),
    );
  });

  test('become an animated WebP with these pauses', async () => {
    const png = (background: string) =>
      sharp({ create: { width: 64, height: 40, channels: 3, background } })
        .png()
        .toBuffer();
    const clip = await animate(
      [
        { at: 0, png: await png('red') },
        { at: 300, png: await png('green') },
        { at: 500, png: await png('blue') },
      ],
      { width: 32, maxBytes: 100_000 },
    );
    expect(await sharp(clip).metadata()).toMatchObject({
      format: 'webp',
      pages: 3,
      width: 32,
      delay: [300, 200, 2000],
      loop: 0,
    });
    await expect(
      animate(
        [
          { at: 0, png: await png('red') },
          { at: 900, png: await png('blue') },
        ],
        { width: 32, maxBytes: 10 },
      ),
    ).rejects.toThrow('do not fit into 10 bytes');
  });
});

test('the options of the command have defaults, and refuse what makes no picture', () => {
  expect(parseOptions([])).toMatchObject({ prompt: 'a red apple', seed: 7 });
  expect(parseOptions(['--out', 'x', '--seed', '3'])).toMatchObject({ out: 'x', seed: 3 });
  expect(() => parseOptions(['--prompt', ' '])).toThrow(UsageError);
  expect(() => parseOptions(['--seed', 'many'])).toThrow('--seed must be a whole number from 0 to 4294967295');
});
