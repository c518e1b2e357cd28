/**
 * What tools say to OpenAI's address beside OpenAI's own words: those of Together, of gateways, of diffusers. Pure.
 */
import { showSize } from '../job/enlarge.ts';
import { nearestSize } from '../job/nearest-size.ts';
import { type Planned, refuse } from '../job/schedule-request.ts';
import type { Size } from '../numerics/grid.ts';
import type { ModelFacts } from '../stage/contract.ts';
import { guidanceOf } from './guidance.ts';
import { type IgnoredFields, ignoredIn } from './ignored.ts';

const JUDGE = 'the deployment decides what it draws';

/** Fields of OpenAI's and its imitators' requests that change nothing here. */
export const OPENAI_IGNORED = {
  style: { why: 'the models have no styles', anyway: [''] },
  disable_safety_checker: { why: JUDGE, anyway: [false] },
  enable_safety_checker: { why: JUDGE, anyway: [true] },
} as const satisfies IgnoredFields;

/** `auto` aside, how a size is written. */
export const SIZE = /^([1-9]\d{0,4})x([1-9]\d{0,4})$/;
/** How an aspect ratio is written. */
export const ASPECT_RATIO = /^([1-9]\d{0,3}):([1-9]\d{0,3})$/;
/** Pixels that `1k` and `2k` mean, along the side of a square. */
const SIDE_OF = { '1k': 1024, '2k': 2048 } as const;
export const IMAGE_SIZES = ['1k', '2k'] as const;
/** Shapes that differ by less, as a logarithm, count as one. */
const ALIKE = 0.02;
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
  /** as `ASPECT_RATIO` has it, or `auto` */
  readonly aspect_ratio?: string | undefined;
  readonly image_size?: (typeof IMAGE_SIZES)[number] | undefined;
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
  const [, across, down] = ASPECT_RATIO.exec(ratio ?? '') ?? [];
  if (!across && image_size === undefined) return sized(undefined);
  const [first] = facts.sizes as [Size];
  const shape = across ? Number(across) / Number(down) : first.width / first.height;
  const area = image_size === undefined ? first.width * first.height : SIDE_OF[image_size] ** 2;
  const wanted = ofShape(shape, area);
  if (isFree && image_size !== undefined) return sized(wanted);
  const made = nearestSize(wanted, facts);
  const isAlike = Math.abs(Math.log(made.width / made.height / shape)) < ALIKE;
  const isMet = isAlike && (image_size === undefined || showSize(made) === showSize(wanted));
  const asked = image_size === undefined ? ratio : showSize(wanted);
  return sized(made, isMet ? [] : [`the picture is ${showSize(made)}: the model makes no size nearer to ${asked}`]);
}

/** The size of a shape (width over height) and so many pixels, as tools reckon it. */
export function ofShape(shape: number, area: number): Size {
  const side = (pixels: number): number => Math.max(1, Math.round(pixels / MULTIPLE)) * MULTIPLE;
  return { width: side(Math.sqrt(area * shape)), height: side(Math.sqrt(area / shape)) };
}
