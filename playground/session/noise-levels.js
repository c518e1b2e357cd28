/**
 * The noise level of a run against time, from its first request on. Pure.
 *
 * @import { Run, StageRun } from './run.js'
 */
import { numStepsDone } from './run.js';

/**
 * When the steps of a stage were done that were heard of: not after that, and early enough for the ones that follow,
 * since several may be heard of together.
 *
 * @param {StageRun} stage
 * @returns {{ step: number, when: number }[]}
 */
function stepTimes({ beganAt, stepsDone }) {
  let next = Number.POSITIVE_INFINITY;
  return stepsDone
    .toReversed()
    .map(({ step, at, ms }) => {
      const when = Math.max(beganAt ?? 0, Math.min(at, next));
      next = when - ms;
      return { step, when };
    })
    .reverse();
}

/**
 * The noise level against time, ready to draw: one line for each stage, from its start over its steps to where it waits
 * for the next one's start.
 *
 * @param {Run} run
 * @returns {{ stage: number, tokens: number, points: { ms: number, sigma: number }[] }[]}
 */
export function noiseLevels({ stages, beganAt, at, image }) {
  const lines = [];
  for (const [index, state] of stages.entries()) {
    const { stage, tokens, sigmas, beganAt: stageBegan } = state;
    if (stageBegan === null || beganAt === null) break;
    const points = [{ step: 0, when: stageBegan }, ...stepTimes(state)].map(({ step, when }) => ({
      ms: Math.max(0, when - beganAt),
      sigma: sigmas[step] ?? 0,
    }));
    // between its last step and the next stage the picture is decoded and looked at: time goes by, the noise does not
    // change
    const next = stages[index + 1]?.beganAt ?? (index === stages.length - 1 && image ? at : null);
    const last = points.at(-1);
    if (next !== null && last && numStepsDone(state) === sigmas.length - 1)
      points.push({ ms: next - beganAt, sigma: last.sigma });
    lines.push({ stage, tokens, points });
  }
  return lines;
}
