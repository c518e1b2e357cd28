/**
 * How loud a thing stands above the noise when a stage restarts, and the Z that keeps it loud enough. Pure.
 *
 * A stage restarts at s = e / (Z (1 - e) + e): the picture has weight s, the noise 1 - s. White noise averages out over
 * a thing: one that is w latent pixels wide has w times the signal of a single pixel against the noise of its mean, so
 * its amplitude is
 *
 *   A = w s / (1 - s) = w e / (Z (1 - e))
 *
 * w is counted on the grid a token stands on after the restart: a thing on tokens that are still low has half as many
 * latent pixels on a side. NT-Matching compares times and knows no resolution, so Z is bounded here (docs/method.md).
 */
import { requireInteger, requireLength, requireNumber, requirePositive } from './bounds.ts';
import type { Range } from './minimize.ts';

/**
 * The least amplitude wanted at a restart, for things of `share` of the picture's shorter side: of tokens on the full
 * grid at a boundary before the last, of tokens still low there, and of all tokens at the last boundary.
 *
 * Measured on the bundled model (docs/method.md): below them the things of the first preview begin to stand elsewhere
 * in the final picture. FLUX at 1024 x 1024 as published has 2.0, 1.0 and 3.5.
 */
export const WANTED_AMPLITUDE = { share: 0.4, upsampled: 1.6, kept: 1, last: 1.6 } as const;

/** Z of a fit when nothing else bounds it: the method needs 2; above 10 the divergence barely falls. */
const Z_RANGE: Range = { least: 2, most: 10 };

/** An amplitude, and the one that was wanted. */
export interface Amplitude {
  readonly reached: number;
  readonly wanted: number;
}

/**
 * Amplitudes at one boundary: of tokens on the full grid after it, and of those still low; null where there are none.
 */
export interface BoundaryAmplitude {
  readonly upsampled: Amplitude | null;
  readonly kept: Amplitude | null;
}

/** What decides the amplitudes of K >= 1 stages. */
export interface Restarts {
  /** shorter side of the picture in latent pixels of the full grid */
  readonly side: number;
  /** [K] on the clock 0 … 1 */
  readonly ends: readonly number[];
  /** [K - 2] low tokens upsampled after each boundary but the last, in all, of `lowTokens` */
  readonly selected: readonly number[];
  readonly lowTokens: number;
}

/**
 * Amplitude w e / (Z (1 - e)) of a thing `width` latent pixels wide where a stage that ended at `end` restarts. Law:
 * width * s / (1 - s) with s = renoiseCoefficients(end, z).start. Throws RangeError unless width > 0, 0 < end < 1 and
 * z >= 2.
 */
export function restartAmplitude(width: number, end: number, z: number): number {
  requireNumber('z', z, Z_RANGE.least, Number.MAX_VALUE);
  return loudest(width, end) / z;
}

/**
 * The largest Z that keeps the amplitude at `wanted` or above. Laws: restartAmplitude undoes it; it doubles with the
 * width.
 */
export function zBound(width: number, end: number, wanted: number): number {
  return loudest(width, end) / requirePositive('wanted', wanted);
}

/** The amplitude without a Z. */
function loudest(width: number, end: number): number {
  requirePositive('width', width);
  if (!(end > 0 && end < 1)) throw new RangeError(`end is ${end}; expected a number above 0 and below 1`);
  return (width * end) / (1 - end);
}

/** [K - 1] amplitudes at each boundary under its Z, `z` [K - 1]. Throws RangeError. */
export function boundaryAmplitudes(restarts: Restarts, z: readonly number[]): BoundaryAmplitude[] {
  requireLength('z', z.length, restarts.ends.length - 1);
  return tokenKinds(restarts).map(({ end, upsampled, kept }, k) => {
    const reach = (kind: TokenKind | null): Amplitude | null =>
      kind && { reached: restartAmplitude(kind.width, end, z[k]!), wanted: kind.wanted };
    return { upsampled: reach(upsampled), kept: reach(kept) };
  });
}

/**
 * [K - 1] where the Z of each boundary may lie: from 2 to the largest that keeps every kind of token there at its
 * wanted amplitude, at most 10. Where even 2 falls short, only 2 is left. Throws RangeError.
 */
export function amplitudeRanges(restarts: Restarts): Range[] {
  const { least, most } = Z_RANGE;
  return tokenKinds(restarts).map(({ end, upsampled, kept }) => {
    const bounds = [upsampled, kept].flatMap((kind) => (kind ? [zBound(kind.width, end, kind.wanted)] : []));
    return { least, most: Math.max(least, Math.min(most, ...bounds)) };
  });
}

/** How wide a thing is on tokens of one kind, and the amplitude wanted there. */
interface TokenKind {
  readonly width: number;
  readonly wanted: number;
}

/** The kinds of tokens at each boundary; null for a kind that has none. */
function tokenKinds({ side, ends, selected, lowTokens }: Restarts) {
  const numBoundaries = ends.length - 1;
  requireLength('selected', selected.length, Math.max(0, numBoundaries - 1));
  const width = WANTED_AMPLITUDE.share * requirePositive('side', side);
  return ends.slice(0, numBoundaries).map((end, k) => {
    if (k === numBoundaries - 1) return { end, upsampled: { width, wanted: WANTED_AMPLITUDE.last }, kept: null };
    const early = requireInteger(`selected[${k}]`, selected[k]!, 0, lowTokens);
    return {
      end,
      upsampled: early > 0 ? { width, wanted: WANTED_AMPLITUDE.upsampled } : null,
      kept: early < lowTokens ? { width: width / 2, wanted: WANTED_AMPLITUDE.kept } : null,
    };
  });
}
