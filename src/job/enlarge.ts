/**
 * A picture that is encoded at another size than it is computed at: what may be asked for, and what a caller gets who
 * names a model by an alias and a size that it does not make. Pure.
 */
import type { Size } from '../numerics/grid.ts';
import { makesSize } from '../numerics/grid.ts';
import { middleOf } from '../numerics/lanczos.ts';
import { MAX_ENLARGED_SIDE, type ModelFacts } from '../stage/contract.ts';
import type { Enlarged } from './job.ts';
import { nearestSize } from './nearest-size.ts';
import type { Refusal } from './schedule-request.ts';

/** A picture is made at most so many times larger or smaller along a side. */
const MOST_TIMES = 8;
/** Most pixels of all pictures of a request: what an answer with all of them in it may hold. */
const MOST_PIXELS = 10 * 1024 ** 2;
/** At most this share of the picture is cut off. */
const MOST_CUT = 0.5;

/** `256x128` */
export const showSize = ({ width, height }: Size): string => `${width}x${height}`;

const rounded = (value: number): number => Number(value.toPrecision(4));

/** How many times larger along a side: as much as it takes to fill the wanted size. */
const factorOf = (from: Size, to: Size): number => Math.max(to.width / from.width, to.height / from.height);

/** The share of the computed picture that is cut off. */
function cutOf(from: Size, to: Size): { readonly share: number; readonly along: 'width' | 'height' } {
  const { across, down } = middleOf(from, to);
  const [wide, high] = [1 - across.length / from.width, 1 - down.length / from.height];
  return wide > high ? { share: wide, along: 'width' } : { share: high, along: 'height' };
}

/** A request's enlargement as callers see it; null where it has none. */
export function viewEnlarged({
  width,
  height,
  enlarge,
}: Size & { readonly enlarge?: Size | undefined }): Enlarged | null {
  if (!enlarge) return null;
  const from = { width, height };
  return { from: showSize(from), to: showSize(enlarge), factor: rounded(factorOf(from, enlarge)) };
}

/** Why `count` pictures of this size are not encoded at the other one; null where they can be. */
export function refuseEnlarge(
  from: Size,
  enlarge: Size,
  { isAllowed, count = 1 }: { readonly isAllowed: boolean; readonly count?: number },
): Refusal | null {
  const no = (rule: string): Refusal => ({ field: 'enlarge', value: showSize(enlarge), rule });
  if (!isAllowed) return no('this deployment encodes every picture at the size it is made at');
  if (Math.max(enlarge.width, enlarge.height) > MAX_ENLARGED_SIDE)
    return no(`a side may have at most ${MAX_ENLARGED_SIDE} pixels`);
  if (count * enlarge.width * enlarge.height > MOST_PIXELS)
    return no(`the pictures of a request may have ${MOST_PIXELS} pixels together, and these ${count} have more`);
  const factor = factorOf(from, enlarge);
  if (factor > MOST_TIMES || factor < 1 / MOST_TIMES)
    return no(
      `${showSize(from)} can be made at most ${MOST_TIMES} times larger or smaller along a side, and this is ${rounded(factor)} times`,
    );
  const { share } = cutOf(from, enlarge);
  if (share > MOST_CUT + 1e-9)
    return no(
      `at most ${100 * MOST_CUT} percent of ${showSize(from)} may be cut off, and this is ${Math.round(100 * share)}`,
    );
  return null;
}

/** The size to compute, the size to encode where that is another, and a sentence that tells the caller. */
export interface FittedSize extends Size {
  readonly enlarge: Size | undefined;
  readonly note: string | null;
}

/**
 * What a caller gets for a size that a model may not make: the nearest that it makes, encoded at the size asked for. A
 * size that it makes stays as it is. Whether the other may be asked for is for `refuseEnlarge` to say.
 */
export function fitSize(
  wanted: Size,
  facts: Pick<ModelFacts, 'id' | 'sizes' | 'size_rule' | 'token_pixels'>,
): FittedSize {
  if (makesSize(wanted, facts)) return { ...wanted, enlarge: undefined, note: null };
  const { width, height } = nearestSize(wanted, facts);
  const from = { width, height };
  return { ...from, enlarge: wanted, note: noteOf(from, wanted, facts.id) };
}

/** `model m makes no 1024x1024: the picture was made at 256x256 and enlarged 4 times` */
function noteOf(from: Size, to: Size, model: string): string {
  const factor = factorOf(from, to);
  const resized =
    factor > 1
      ? ` and enlarged ${rounded(factor)} times`
      : factor < 1
        ? ` and reduced to ${rounded(100 * factor)} percent`
        : '';
  const { share, along } = cutOf(from, to);
  const cut = share > 1e-9 ? `; ${rounded(100 * share)} percent of its ${along} were cut off` : '';
  return `model ${model} makes no ${showSize(to)}: the picture was made at ${showSize(from)}${resized}${cut}`;
}
