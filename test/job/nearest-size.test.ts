import { describe, expect, it } from 'vitest';
import { nearestSize } from '../../src/job/nearest-size.ts';
import { canBeStaged, makesSize, type Size } from '../../src/numerics/grid.ts';

const size = (text: string): Size => {
  const [width, height] = text.split('x').map(Number) as [number, number];
  return { width, height };
};
const sizes = (...texts: readonly string[]) => ({ sizes: texts.map(size), size_rule: null, token_pixels: 16 });
const nearest = (wanted: string, facts: Parameters<typeof nearestSize>[1]): string => {
  const { width, height } = nearestSize(size(wanted), facts);
  return `${width}x${height}`;
};

const FEW = sizes('256x256', '256x128', '128x256');
const RULE = {
  sizes: [size('1024x1024')],
  size_rule: { multiple: 16, min_pixels: 65_536, max_pixels: 4_194_304, max_aspect: 4 },
  token_pixels: 16,
};

describe('the nearest size', () => {
  it('has the nearest aspect ratio', () => {
    expect(nearest('1024x1024', FEW)).toBe('256x256');
    expect(nearest('1792x1024', FEW)).toBe('256x128');
    expect(nearest('1024x1792', FEW)).toBe('128x256');
    expect(nearest('1536x1024', FEW)).toBe('256x128');
    expect(nearest('1300x1000', FEW)).toBe('256x256');
    expect(nearest('4000x100', FEW)).toBe('256x128');
  });

  it('of one ratio is the smallest that has the pixels, or the largest there is', () => {
    const squares = sizes('512x512', '1024x1024', '256x256');
    expect(nearest('300x300', squares)).toBe('512x512');
    expect(nearest('600x600', squares)).toBe('1024x1024');
    expect(nearest('4000x4000', squares)).toBe('1024x1024');
    expect(nearest('16x16', squares)).toBe('256x256');
  });

  it('of one ratio is one that stages run on, unless there is none', () => {
    expect(nearest('496x496', sizes('496x512', '512x512', '496x496'))).toBe('512x512');
    expect(nearest('1792x1024', sizes('1024x1024', '1360x768'))).toBe('1360x768');
    expect(nearest('480x480', sizes('464x464', '496x496'))).toBe('496x496');
  });

  it('by a rule lies next to the wanted one, or at the bounds of the rule', () => {
    expect(nearest('1000x1000', RULE)).toBe('1024x1024');
    expect(nearest('1920x1080', RULE)).toBe('1920x1088');
    expect(nearest('1280x720', RULE)).toBe('1312x736');
    expect(nearest('100x100', RULE)).toBe('256x256');
    expect(nearest('4096x4096', RULE)).toBe('2048x2048');
    expect(nearest('8000x1000', RULE)).toBe('4096x1024');
  });

  it('is always made by the model; is its own where stages run on it; turns with the wanted one', () => {
    let state = 7;
    const draw = (): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
      return 1 + (state % 4000);
    };
    for (const facts of [FEW, RULE]) {
      for (let i = 0; i < 500; i++) {
        const wanted = { width: draw(), height: draw() };
        const found = nearestSize(wanted, facts);
        expect(makesSize(found, facts), JSON.stringify(wanted)).toBe(true);
        expect(canBeStaged(found, facts.token_pixels)).toBe(true);
        expect(nearestSize(found, facts)).toEqual(found);
        const turned = nearestSize({ width: wanted.height, height: wanted.width }, facts);
        expect(turned.width * turned.height).toBe(found.width * found.height);
      }
    }
  });
});
