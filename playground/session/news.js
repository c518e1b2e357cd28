/**
 * What is said once: to those who listen to the page as it happens, and when it is over. Pure.
 *
 * @import { SeenEvent } from '../../src/job/events.ts'
 * @import { CostView } from '../../src/billing/charge.ts'
 * @import { Receipt } from '../../src/billing/receipt.ts'
 * @import { Run } from './run.js'
 * @import { Part, Session } from './session.js'
 */
import { counted, dollars, duration, times, work } from '../ground/figures.js';
import { denoised } from './run.js';

/** @param {CostView | null} cost */
const costOf = (cost) => (cost?.usd ? ` It cost ${dollars(cost.usd)}.` : '');

/** How a job came to no picture, in a sentence; null where it did not. @param {Run} run */
export function failureOf({ failure }) {
  if (!failure) return null;
  const tried = failure.attempts > 1 ? ` It was tried ${failure.attempts} times.` : '';
  return `${failure.message}${tried}`;
}

/**
 * What a listener wants to know of an event that has just been told; empty: nothing. Steps are too many.
 *
 * @param {Session} session after it
 * @param {Part} part
 * @param {SeenEvent} event
 */
export function sentenceOf(session, part, event) {
  const run = session[part]?.run;
  if (!run) return '';
  if (event.type === 'done')
    return pictureIsThere(part === 'main' ? 'The picture' : 'The plain model’s picture', event.data.receipt, run);
  const sentence = sentenceOfRun(event, run);
  return part === 'beside' && sentence !== '' ? `The plain model: ${sentence}` : sentence;
}

/** @param {string} picture whose it is @param {Receipt} receipt @param {Run} run */
function pictureIsThere(picture, { tflops: { denoise, ratio }, wall_ms }, { cost }) {
  const saving = ratio !== null && ratio > 1 ? `, ${times(ratio)} less than the plain model` : '';
  return `${picture} is there, after ${duration(wall_ms.total)}: ${work(denoise)} of denoising${saving}.${costOf(cost)}`;
}

/** @param {SeenEvent} event @param {Run} run */
function sentenceOfRun(event, run) {
  switch (event.type) {
    case 'stage': {
      const { stage, stages, tokens, steps, attempt } = event.data;
      const what = `${counted(tokens, 'token')}, ${counted(steps, 'step')}`;
      if (attempt > 1) return `Stage ${stage}, attempt ${attempt}.`;
      return stages === 1 ? `${what}.` : `Stage ${stage} of ${stages}: ${what}.`;
    }
    case 'selection':
      return `${counted(event.data.indices.length, 'block')} with edges go to full resolution early.`;
    case 'retry':
      return run.stages[event.data.stage - 1]?.trouble ?? '';
    case 'cancelled':
      return `Cancelled.${costOf(run.cost)}`;
    default:
      return '';
  }
}

/** How the two compare, in a sentence; null before both are there. @param {Session} session */
export function comparisonOf({ main, beside }) {
  const [own, plain] = [main.run.receipt, beside?.run.receipt];
  return own && plain ? `The plain model took ${times(denoised(plain) / denoised(own))} as long to denoise.` : null;
}
