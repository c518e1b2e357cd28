import { describe, expect, it } from 'vitest';
import { cleanEstimate, eulerStep } from '../../src/numerics/flow.ts';
import { transitionWithNoise } from '../../src/numerics/renoise.ts';
import { buildSchedule } from '../../src/numerics/schedule.ts';
import { gridIds, type Tokens } from '../../src/numerics/tokens.ts';
import { golden, maxDifference, type Trajectory } from './golden.ts';

/** The closed-form model of the golden runs: v = tanh(x) * (0.5 + sigma) + 0.1 * cos(0.7 row + 0.3 col). */
function goldenVelocity({ latents, imgIds, scale }: Tokens, sigma: number): Float32Array {
  const width = latents.length / scale.length;
  return latents.map((x, i) => {
    const n = Math.floor(i / width);
    return Math.tanh(x) * (0.5 + sigma) + 0.1 * Math.cos(0.7 * imgIds[3 * n + 1]! + 0.3 * imgIds[3 * n + 2]!);
  });
}

const places = (imgIds: Float32Array) => [...imgIds].filter((_, i) => i % 3 !== 0);

/** Largest difference over the largest reference value; the bound is 1e-6 in float32. */
const relative = (ours: Float32Array, reference: number[]) =>
  maxDifference(ours, reference) / Math.max(...reference.map(Math.abs));

describe.each(golden<Trajectory[]>('trajectory.json'))(
  'golden trajectory, $mode mode on $gh x $gw tokens of $D',
  (run) => {
    it('has the reference latents and ids at the end of every stage, and its clean estimate', () => {
      const schedule = buildSchedule({ steps: run.N, ends: run.e, shifts: run.h, z: run.e.slice(1).map(() => run.z) });
      const numLow = run.gh * run.gw;
      let tokens: Tokens = {
        latents: Float32Array.from(run.x_init),
        imgIds: gridIds(run.gh, run.gw),
        scale: new Uint8Array(numLow).fill(2),
      };
      for (const [k, { sigmas }] of schedule.stages.entries()) {
        if (k > 0) {
          const chosen =
            k === 1
              ? Uint32Array.from(run.selected)
              : Uint32Array.from({ length: numLow - run.selected.length }, (_, n) => n);
          const boundary = {
            tokens,
            chosen,
            mode: run.mode,
            renoise: schedule.renoise[k - 1]!,
            referenceVariance: run.mode === 'token',
            isLast: k === 2,
          };
          tokens = transitionWithNoise(boundary, Float32Array.from(run[`white_noise_${k + 1}`]!));
        }
        expect(places(tokens.imgIds)).toEqual(run[`ids_${k + 1}`]);
        let velocity = new Float32Array(0);
        for (let step = 0; step + 1 < sigmas.length; step++) {
          velocity = Float32Array.from(goldenVelocity(tokens, sigmas[step]!));
          eulerStep(tokens.latents, velocity, sigmas[step]!, sigmas[step + 1]!);
        }
        expect(relative(tokens.latents, run[`x_${k + 1}`]!)).toBeLessThanOrEqual(1e-6);
        if (k === 0)
          expect(
            relative(cleanEstimate(tokens.latents, velocity, sigmas.at(-1)!), run.clean_estimate_1),
          ).toBeLessThanOrEqual(1e-6);
      }
    });
  },
);
