/** Sizes that other services have names for, or call by a ratio, as a model makes them. Pure. */
import { nearestSize } from '../job/nearest-size.ts';
import { type Planned, refuse } from '../job/schedule-request.ts';
import { makesSize, type Size } from '../numerics/grid.ts';
import type { ModelFacts } from '../stage/contract.ts';

/** A ratio as it is written: `16:9`. */
export const RATIO = /^([1-9]\d{0,2}):([1-9]\d{0,2})$/;

const PIXELS_OF_A_MEGAPIXEL = 2 ** 20;
/** How far the pixels of a picture may be from those wanted and nothing is said of it. */
const NEAR = 0.1;

/** What a request says of its size, and what to tell of that. */
export interface FoundSize {
  readonly size: Size | null;
  readonly notes: readonly string[];
}

const text = ({ width, height }: Size): string => `${width}x${height}`;
const NEAREST = 'the nearest that the model makes';

/** The size that a name stands for, or the nearest to it. `said` is the field with its value. */
export function namedSize(said: string, wanted: Size, facts: ModelFacts): FoundSize {
  if (makesSize(wanted, facts)) return { size: wanted, notes: [] };
  const size = nearestSize(wanted, facts);
  return { size, notes: [`${said} means ${text(wanted)}: the picture has ${text(size)}, ${NEAREST}`] };
}

/**
 * The size of a ratio with about so many megapixels, which are those of the model's first size where null. Refuses
 * `aspect_ratio`. `called`: the field that says how many, with its value.
 */
export function ratioSize(
  ratio: string,
  megapixels: number | null,
  facts: ModelFacts,
  called = `megapixels ${megapixels}`,
): Planned<FoundSize> {
  const [, wide, high] = RATIO.exec(ratio) ?? [];
  if (!wide || !high) return refuse('aspect_ratio', ratio, 'must be a ratio, as in 16:9');
  const aspect = Number(wide) / Number(high);
  const [first] = facts.sizes as [Size];
  const area = megapixels === null ? first.width * first.height : megapixels * PIXELS_OF_A_MEGAPIXEL;
  const size = nearestSize({ width: Math.sqrt(area * aspect), height: Math.sqrt(area / aspect) }, facts);
  const isExact = size.width * Number(high) === size.height * Number(wide);
  return {
    ok: true,
    value: {
      size,
      notes: [
        ...(isExact ? [] : [`aspect_ratio ${ratio}: the picture has ${text(size)}, ${NEAREST}`]),
        ...(megapixels === null ? [] : tellPixels(called, megapixels, size)),
      ],
    },
  };
}

/** A warning where a picture has not the pixels that were asked for. */
function tellPixels(called: string, megapixels: number, size: Size): readonly string[] {
  const has = (size.width * size.height) / PIXELS_OF_A_MEGAPIXEL;
  return Math.abs(has / megapixels - 1) <= NEAR
    ? []
    : [`${called}: the picture has ${Number(has.toPrecision(2))} megapixels (${text(size)}), ${NEAREST}`];
}
