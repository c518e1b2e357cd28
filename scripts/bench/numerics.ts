/**
 * How long the numerics take where this runs, Node or workerd. Pure but for the clock: the inputs come from outside.
 */
import { canny } from '../../src/numerics/canny.ts';
import type { MatchingProblem } from '../../src/numerics/densities.ts';
import { rankPicture, selectAtBoundaries } from '../../src/numerics/early.ts';
import { fitSchedule } from '../../src/numerics/nt-matching.ts';
import { transition } from '../../src/numerics/renoise.ts';
import { buildSchedule } from '../../src/numerics/schedule.ts';
import { initialTokens } from '../../src/numerics/tokens.ts';

export interface Measurement {
  readonly name: string;
  /** milliseconds of each call; a list, so that it travels as JSON */
  readonly times: readonly number[];
}

const CALLS = 50;

/** The golden fit cases, and a square grey picture [side * side]. */
export interface NumericsInputs {
  readonly cases: readonly {
    readonly name: string;
    readonly N: readonly number[];
    readonly e: readonly number[];
    readonly h: number;
  }[];
  readonly face: Uint8Array;
}

/** Wall times of `work`, after a fifth as many calls to warm up. */
function measure(name: string, work: () => unknown): Measurement {
  for (let call = 0; call < CALLS / 5; call++) work();
  const times = Array.from({ length: CALLS }, () => {
    const begin = performance.now();
    work();
    return performance.now() - begin;
  });
  return { name, times };
}

/** One measurement of each fit, of Canny, and of everything between the stages of a FLUX job at 1024². */
export function benchNumerics({ cases, face }: NumericsInputs): Measurement[] {
  const measurements: Measurement[] = [];
  for (const { name, N, e, h } of cases) {
    const problem: MatchingProblem = { steps: N, ends: e, modelShift: h };
    measurements.push(measure(`fit, ${name}`, () => fitSchedule(problem)));
  }

  const side = Math.sqrt(face.length);
  measurements.push(measure(`Canny, ${side}²`, () => canny(face, side, side)));

  // 1024 low tokens of 64 values, 30 % of them upsampled first, then all: 1024 → 1945 → 4096
  const rgb = Uint8Array.from({ length: 3 * face.length }, (_, i) => face[Math.floor(i / 3)]!);
  const { renoise } = buildSchedule({
    steps: [5, 6, 7],
    ends: [0.3, 0.45, 1],
    shifts: [5.019, 2.589, 2.226],
    z: [6.317, 6.317],
  });
  const low = initialTokens({ rows: 32, cols: 32, values: 64, seed: 1, scale: 2 });
  const rest = Uint32Array.from({ length: 1024 - 307 }, (_, n) => n);
  measurements.push(
    measure('between the stages of FLUX at 1024²: grey, Canny, selection, both transitions', () => {
      const { ranking } = rankPicture({ data: rgb, width: side, height: side }, { block: 16, isClipped: false });
      const [chosen] = selectAtBoundaries(ranking, [307]) as [Uint32Array];
      const boundary = { mode: 'latent', seed: 1, order: 'place', referenceVariance: false } as const;
      const mixed = transition({ ...boundary, tokens: low, chosen, renoise: renoise[0]!, stream: 1, isLast: false });
      return transition({ ...boundary, tokens: mixed, chosen: rest, renoise: renoise[1]!, stream: 2, isLast: true });
    }),
  );
  return measurements;
}
