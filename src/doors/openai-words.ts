/**
 * What tools say to OpenAI's address beside OpenAI's own words: those of Together, of gateways, of diffusers. Pure.
 */
import { type Planned, refuse } from '../job/schedule-request.ts';
import type { Size } from '../numerics/grid.ts';
import type { ModelFacts } from '../stage/contract.ts';
import { guidanceOf } from './guidance.ts';
import { type IgnoredFields, ignoredIn } from './ignored.ts';
import { JUDGE } from './reasons.ts';
import { RATIO, ratioSize } from './wanted-size.ts';

/** Fields of OpenAI's and its imitators' requests that change nothing here. */
export const OPENAI_IGNORED = {
  style: { why: 'the models have no styles', anyway: [''] },
  disable_safety_checker: { why: JUDGE, anyway: [false] },
  enable_safety_checker: { why: JUDGE, anyway: [true] },
} as const satisfies IgnoredFields;

/** `auto` aside, how a size is written. */
export const SIZE = /^([1-9]\d{0,4})x([1-9]\d{0,4})$/;
/** What `1k` and `2k` are. */
const MEGAPIXELS = { '1k': 1, '2k': 4 } as const;
export const IMAGE_SIZES = ['1k', '2k'] as const;
/** Pixels along the side of a square of one megapixel. */
const SIDE = 1024;
const SQUARE = '1:1';
/** Sides of a size that is made from a ratio are multiples of it. */
const MULTIPLE = 16;

/** The words of others in a body. */
export interface OtherWords {
  /** what `n` is */
  readonly num_images?: number | undefined;
  /** what `steps` is */
  readonly num_inference_steps?: number | undefined;
  /** what `guidance` is */
  readonly guidance_scale?: number | undefined;
  /** together what `size` is */
  readonly width?: number | undefined;
  readonly height?: number | undefined;
  /** as `RATIO` has it, or `auto` */
  readonly aspect_ratio?: string | undefined;
  readonly image_size?: keyof typeof MEGAPIXELS | undefined;
  readonly style?: unknown;
  readonly disable_safety_checker?: unknown;
  readonly enable_safety_checker?: unknown;
}

/** OpenAI's words, and ours, that those stand for. */
interface Words extends OtherWords {
  readonly model?: string | undefined;
  readonly n?: number | undefined;
  readonly size?: string | undefined;
  readonly steps?: number | undefined;
  readonly guidance?: number | undefined;
}

/** What the words of a body mean together. */
export interface Meaning {
  readonly count: number;
  readonly steps: number | undefined;
  readonly guidance: number | undefined;
  /** pixels that were asked for; undefined: the model's first size */
  readonly size: Size | undefined;
  /** what was not taken by the letter */
  readonly notes: readonly string[];
}

/** Pairs of words for the same thing: a body has one of them, or both with one value. */
const SAME = [
  ['n', 'num_images'],
  ['steps', 'num_inference_steps'],
  ['guidance', 'guidance_scale'],
] as const;

/**
 * What a body means in whichever words. `isFree`: it may ask for any size. Refuses the word that says something else
 * than another.
 */
export function meaningOf(body: Words, facts: ModelFacts, isFree: boolean): Planned<Meaning> {
  for (const [own, other] of SAME)
    if (body[own] !== undefined && body[other] !== undefined && body[own] !== body[other])
      return refuse(other, body[other], `says another thing than ${own}: send one of them`);
  const size = sizeOf(body, facts, isFree);
  if (!size.ok) return size;
  const scale = guidanceOf('guidance_scale', body.guidance_scale, facts);
  return {
    ok: true,
    value: {
      count: body.n ?? body.num_images ?? 1,
      steps: body.steps ?? body.num_inference_steps,
      guidance: body.guidance ?? scale.guidance,
      size: size.value.size,
      notes: [...ignoredIn(body, OPENAI_IGNORED), ...scale.notes, ...size.value.notes],
    },
  };
}

type SizeMeant = Pick<Meaning, 'size' | 'notes'>;
const sized = (size: Meaning['size'], notes: readonly string[] = []): Planned<SizeMeant> => ({
  ok: true,
  value: { size, notes },
});

/** The pixels that a body asks for. A ratio is met as nearly as the model can. */
function sizeOf(body: Words, facts: ModelFacts, isFree: boolean): Planned<SizeMeant> {
  const { width, height, aspect_ratio: ratio, image_size } = body;
  const [, wide, high] = SIZE.exec(body.size ?? '') ?? [];
  const hasSides = width !== undefined || height !== undefined;
  if (wide && high) {
    const [w, h] = [Number(wide), Number(high)];
    if ((width ?? w) !== w || (height ?? h) !== h)
      return refuse('size', body.size, 'says another thing than width, height');
    return sized({ width: w, height: h });
  }
  if (hasSides) {
    if (width === undefined || height === undefined)
      return refuse('width', width, 'needs height beside it, and height width');
    return sized({ width, height });
  }
  const isRatio = ratio !== undefined && RATIO.test(ratio);
  if (!isRatio && image_size === undefined) return sized(undefined);
  const shape = isRatio ? ratio : SQUARE;
  const megapixels = image_size === undefined ? null : MEGAPIXELS[image_size];
  if (isFree && megapixels !== null) return sized(ofShape(shape, megapixels));
  const found = ratioSize(shape, megapixels, facts, `image_size ${image_size?.toUpperCase()}`);
  return found.ok ? sized(found.value.size ?? undefined, found.value.notes) : found;
}

/** The size of a shape and so many megapixels, as tools reckon it. */
function ofShape(shape: string, megapixels: number): Size {
  const [across, down] = shape.split(':').map(Number) as [number, number];
  const side = (ratio: number): number => Math.round((SIDE * Math.sqrt(megapixels * ratio)) / MULTIPLE) * MULTIPLE;
  return { width: side(across / down), height: side(down / across) };
}
