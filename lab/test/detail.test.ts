/** Detail is measured in pictures whose detail is known: made of sprites, then blurred, made noisy or littered. */
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { standardNormals } from '../../src/numerics/normal.ts';
import type { Pixels } from '../eval/denoiser.ts';
import { detailOf, LEAST_CORRELATION } from '../eval/detail.ts';
import { type Detail, figureDifference, figureOf } from '../eval/detail-figures.ts';
import { blur, fitSprite, sceneOf } from '../eval/fit-sprite.ts';
import { loadPicture } from '../eval/pictures.ts';
import { recolour } from '../eval/recolour.ts';
import { drawSprite, openSprites, type Placed, type Sprites } from '../eval/sprite.ts';
import { cases } from './scenes/seen.json' with { type: 'json' };

const SIZE = 128;
const NAMES = ['fox', 'clock', 'bus', 'strawberry', 'butterfly', 'doughnut', 'owl', 'drum', 'bee', 'monkey', 'crown'];
let sprites: Sprites;
beforeAll(async () => {
  sprites = await openSprites([...NAMES, 'bear', 'sunflower', 'carrot', 'rabbit']);
}, 60_000);

interface Thing extends Placed {
  readonly name: string;
  readonly colour?: string;
}

/** Things on a ramp from one colour to another. */
function drawn(things: readonly Thing[], ends = [90, 140, 200, 60, 120, 220]): Pixels {
  const data = new Uint8Array(SIZE * SIZE * 3);
  const layers = things.map(({ name, colour, ...placed }) =>
    drawSprite(sprites(name, colour ?? null), placed, { left: 0, top: 0, width: SIZE, height: SIZE }),
  );
  for (let p = 0; p < SIZE * SIZE; p++)
    for (let k = 0; k < 3; k++) {
      const t = Math.floor(p / SIZE) / (SIZE - 1);
      let level = ends[k]! * (1 - t) + ends[k + 3]! * t;
      for (const layer of layers) level = level * (1 - layer[p * 4 + 3]! / 255) + layer[p * 4 + k]!;
      data[p * 3 + k] = Math.max(0, Math.min(255, Math.round(level)));
    }
  return { data, width: SIZE, height: SIZE };
}

/** As a detector sees a thing that is `off` pixels from where it says. */
const seenAs = ({ name, colour, x, y, side }: Thing, off = 0) => ({
  name,
  colour: colour ?? null,
  x: (x + off) / SIZE,
  y: (y - off) / SIZE,
  side: (side + off) / SIZE,
});
const changed = (picture: Pixels, level: (value: number, i: number) => number): Pixels => ({
  ...picture,
  data: picture.data.map((value, i) => Math.max(0, Math.min(255, Math.round(level(value, i))))),
});
const blurred = (picture: Pixels, times: number): Pixels => {
  const planes = [0, 1, 2].map((k) => {
    let plane = Float32Array.from({ length: SIZE * SIZE }, (_, p) => picture.data[p * 3 + k]!);
    for (let i = 0; i < times; i++) plane = new Float32Array(blur(plane, SIZE, SIZE));
    return plane;
  });
  return changed(picture, (_, i) => planes[i % 3]![Math.floor(i / 3)]!);
};
const fox: Thing = { name: 'fox', x: 63.3, y: 66.8, side: 96.6, isFlipped: false };
const detail = (picture: Pixels, things: readonly Thing[] = [fox], off = 2): Detail =>
  detailOf(
    picture,
    things.map((thing) => seenAs(thing, off)),
    { asked: things.map(({ name }) => name), sprites },
  );

describe('a sprite', () => {
  it('moved by whole pixels with its window looks the same, and mirrored twice as it did', () => {
    const window = { left: 3, top: 5, width: 40, height: 30 };
    const placed = { x: 22.4, y: 19.7, side: 25.3, isFlipped: true };
    const moved = drawSprite(
      sprites('bus', null),
      { ...placed, x: placed.x + 7, y: placed.y - 4 },
      { ...window, left: window.left + 7, top: window.top - 4 },
    );
    drawSprite(sprites('bus', null), placed, window).forEach((value, i) => {
      expect(moved[i]).toBeCloseTo(value, 2);
    });
    const middle = { x: 20, y: 15, side: 25.3 };
    const whole = { left: 0, top: 0, width: 40, height: 30 };
    const straight = drawSprite(sprites('bus', null), { ...middle, isFlipped: false }, whole);
    const mirrored = drawSprite(sprites('bus', null), { ...middle, isFlipped: true }, whole);
    straight.forEach((value, i) => {
      const column = Math.floor(i / 4) % 40;
      expect(mirrored[i + 4 * (39 - 2 * column)]).toBeCloseTo(value, 2);
    });
  });

  it('in another colour has the same outline, and its new colour in the middle', () => {
    const { data } = sprites('strawberry', null)[0]!;
    const blue = recolour(data, 'blue');
    const sums = [0, 0, 0];
    blue.forEach((value, i) => {
      if (i % 4 === 3) expect(value).toBe(data[i]);
      else sums[i % 4]! += value;
    });
    expect(sums[2]).toBeGreaterThan(1.3 * sums[0]!);
    expect(() => recolour(data, 'mauve')).toThrow('colour is mauve');
    expect(() => sprites('unicorn', null)).toThrow('name is unicorn');
  });

  it('that scenes do not have is refused', async () => {
    await expect(openSprites(['unicorn'])).rejects.toThrow('name is unicorn');
  });
});

describe('the fit', () => {
  it('finds place, size and mirroring wherever the detector was off, in natural colours and others', () => {
    fc.assert(
      fc.property(
        fc.record({
          name: fc.constantFrom('fox', 'bus', 'butterfly', 'strawberry'),
          colour: fc.constantFrom(undefined, 'blue', 'pink'),
          x: fc.double({ min: 52, max: 76, noNaN: true }),
          y: fc.double({ min: 52, max: 76, noNaN: true }),
          side: fc.double({ min: 50, max: 100, noNaN: true }),
          isFlipped: fc.boolean(),
        }),
        fc.double({ min: -0.06, max: 0.06, noNaN: true }),
        ({ colour, ...rest }, off) => {
          const thing: Thing = { ...rest, ...(colour && { colour }) };
          const square = { x: thing.x + off * thing.side, y: thing.y - off * thing.side, side: thing.side * (1 + off) };
          const looks = [sprites(thing.name, thing.colour ?? null)] as const;
          const fit = fitSprite(sceneOf(drawn([thing])), looks, square)!;
          expect(fit.correlation).toBeGreaterThan(0.99);
          expect(Math.abs(fit.placed.x - thing.x)).toBeLessThan(0.25);
          expect(Math.abs(fit.placed.y - thing.y)).toBeLessThan(0.25);
          expect(Math.abs(fit.placed.side - thing.side)).toBeLessThan(0.5);
          // a butterfly and its mirror image are nearly the same
          if (thing.name === 'bus') expect(fit.placed.isFlipped).toBe(thing.isFlipped);
        },
      ),
      { seed: 3, numRuns: 25 },
    );
  }, 120_000);

  it('is nothing where there is nothing, and where the window is outside the picture', () => {
    const scene = sceneOf(drawn([]));
    const looks = [sprites('fox', null)] as const;
    expect(fitSprite(scene, looks, { x: 64, y: 64, side: 90 })).toBeNull();
    expect(fitSprite(sceneOf(drawn([fox])), looks, { x: 400, y: 64, side: 30 })).toBeNull();
  });

  it('of another sprite is refused', () => {
    const scene = sceneOf(drawn([fox]));
    const fits = NAMES.map((name) => {
      const fit = fitSprite(scene, [sprites(name, null)], { x: 64, y: 66, side: 96 });
      return [name, fit?.correlation ?? 0] as const;
    });
    expect(fits.filter(([, correlation]) => correlation >= LEAST_CORRELATION).map(([name]) => name)).toEqual(['fox']);
  });
});

describe('detail', () => {
  it('of a picture made of sprites is all there, with none that is false and no ghosts', () => {
    for (const things of [
      [fox],
      [{ ...fox, isFlipped: true, colour: 'green' }],
      [
        { name: 'bus', x: 32.4, y: 64, side: 50.3, isFlipped: false },
        { name: 'clock', x: 96.1, y: 63.2, side: 51.2, isFlipped: false },
      ],
    ]) {
      const { things: found, ghosts } = detail(drawn(things), things);
      expect(found.map(({ name }) => name)).toEqual(things.map(({ name }) => name));
      for (const { kept, false: other } of found) {
        expect(Math.abs(kept - 1)).toBeLessThan(0.04);
        expect(other).toBeLessThan(0.02);
      }
      expect(ghosts).toBe(0);
    }
  });

  it.each(cases)('of $file, which Pillow drew, is what it was drawn with', async ({ file, things, seen }) => {
    const picture = (await loadPicture(fileURLToPath(new URL(`./scenes/${file}`, import.meta.url))))!;
    const { things: found, ghosts } = detailOf(picture, seen.objects, {
      asked: things.map(({ name }) => name),
      sprites,
    });
    expect(found).toHaveLength(things.length);
    // one of them was blurred when it was drawn
    const isSoft = file === 'two.png';
    for (const { correlation, kept, false: other } of found) {
      expect(correlation).toBeGreaterThan(0.99);
      expect(kept).toBeGreaterThan(isSoft ? 0.1 : 0.93);
      expect(kept).toBeLessThan(isSoft ? 0.3 : 1.03);
      if (!isSoft) expect(other).toBeLessThan(0.06);
    }
    expect(ghosts).toBe(0);
  });

  it('falls with every blur', () => {
    const picture = drawn([fox]);
    const kept = [0, 1, 2, 4, 8].map((times) => detail(blurred(picture, times)).things[0]!.kept);
    for (const [i, value] of kept.slice(1).entries()) expect(value).toBeLessThan(kept[i]! - 0.02);
    expect(kept.at(-1)).toBeLessThan(0.25);
  });

  it('stays under noise, which makes false detail as it grows', () => {
    const picture = drawn([fox]);
    const noise = standardNormals({ seed: 5, stream: 1, count: picture.data.length });
    const found = [0, 2, 5, 10].map((sigma) => detail(changed(picture, (v, i) => v + sigma * noise[i]!)).things[0]!);
    for (const [i, { kept, false: other }] of found.slice(1).entries()) {
      expect(other).toBeGreaterThan(found[i]!.false);
      expect(Math.abs(kept - found[0]!.kept)).toBeLessThan(0.05);
    }
  });

  it('is not changed by what is pasted beside, which is ghosts of as much of the picture as it covers', () => {
    const small = { ...fox, side: 60, x: 80, y: 80 };
    const clean = drawn([small]);
    const shares = [0, 4, 8, 16].map((edge) => {
      const littered = changed(clean, (value, i) => {
        const [x, y] = [Math.floor(i / 3) % SIZE, Math.floor(i / 3 / SIZE)];
        return x >= 8 && x < 8 + edge && y >= 10 && y < 10 + edge ? 255 - value : value;
      });
      const { things, ghosts } = detail(littered, [small], 1);
      expect(things[0]!.kept).toBeCloseTo(detail(clean, [small], 1).things[0]!.kept, 3);
      return [ghosts, edge ** 2 / SIZE ** 2] as const;
    });
    for (const [ghosts, covered] of shares) expect(ghosts).toBeCloseTo(covered, 4);
  });

  it('counts a thing that was not asked for among the ghosts, and tells none where one that was is missing', () => {
    const bus: Thing = { name: 'bus', x: 30, y: 30, side: 44, isFlipped: false };
    const clock: Thing = { name: 'clock', x: 96, y: 96, side: 44, isFlipped: false };
    const picture = drawn([bus, clock]);
    const seen = [seenAs(bus), seenAs(clock), { ...seenAs(bus), name: null }];
    const one = detailOf(picture, seen, { asked: ['bus'], sprites });
    expect(one.things.map(({ name }) => name)).toEqual(['bus']);
    expect(one.ghosts).toBeGreaterThan(0.05);
    expect(detailOf(picture, seen, { asked: ['bus', 'clock'], sprites }).ghosts).toBe(0);
    expect(detailOf(picture, seen, { asked: ['bus', 'fox'], sprites }).ghosts).toBeNull();
  });
});

describe('figures of detail', () => {
  const of = (ghosts: number | null, ...things: readonly (readonly [name: string, kept: number])[]): Detail => ({
    things: things.map(([name, kept]) => ({ name, kept, correlation: 1, false: 1 - kept })),
    ghosts,
  });

  it('are means over the names of a picture, however many things have one', () => {
    const detail = of(0.1, ['fox', 0.2], ['fox', 0.4], ['bus', 0.7]);
    expect(figureOf(detail, 'kept')).toBeCloseTo(0.5, 12);
    expect(figureOf(detail, 'false')).toBeCloseTo(0.5, 12);
    expect(figureOf(detail, 'ghosts')).toBe(0.1);
    expect(figureOf(of(null), 'kept')).toBeNull();
  });

  it('of a pair are of the things that both show, and change their sign when the two change places', () => {
    const mine = of(0.1, ['fox', 0.2], ['fox', 0.4], ['bus', 0.9]);
    const other = of(0.3, ['fox', 0.5], ['owl', 0.1]);
    expect(figureDifference(mine, other, 'kept')).toBeCloseTo(-0.2, 12);
    expect(figureDifference(other, mine, 'kept')).toBeCloseTo(0.2, 12);
    expect(figureDifference(mine, other, 'kept', 0.5)).toBeCloseTo(0.05, 12);
    expect(figureDifference(mine, other, 'ghosts')).toBeCloseTo(-0.2, 12);
    expect(figureDifference(mine, of(null, ['owl', 1]), 'kept')).toBeNull();
    expect(figureDifference(mine, of(null), 'ghosts')).toBeNull();
  });
});
