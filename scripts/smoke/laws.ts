/** What must hold of a job that is done, whatever model drew it. Pure; each law gives sentences on what breaks it. */
import type { Receipt } from '../../src/billing/receipt.ts';
import { isLastEvent } from '../../src/job/events.ts';
import type { PlanView } from '../../src/job/job.ts';
import type { FollowedEvent } from '../generate/client.ts';

type Work = Pick<PlanView, 'stages'>;

/**
 * Events of a job that is done: those with a number from 1 without a gap; `queued`, `plan`, then the stages of the plan
 * in order, each as it was planned, and in the last attempt at each steps that never fall, up to its last; `done` last,
 * and nothing else that ends.
 */
export function brokenInEvents(events: readonly FollowedEvent[], { stages }: Work): string[] {
  const faults: string[] = [];
  const numbers = events.flatMap(({ seq }) => (seq === null ? [] : [seq]));
  const gap = numbers.findIndex((seq, i) => seq !== i + 1);
  if (gap >= 0) faults.push(`event ${gap + 1} has number ${numbers[gap]}`);
  const [first, second] = events;
  if (first?.type !== 'queued' || second?.type !== 'plan')
    faults.push(`the events begin with ${first?.type} and ${second?.type}, not with queued and plan`);
  const ends = events.filter(({ type }) => isLastEvent(type)).map(({ type }) => type);
  if (events.at(-1)?.type !== 'done' || ends.length !== 1)
    faults.push(`the events end with ${events.at(-1)?.type}, and ${ends.length} of them are an end`);

  const order = events.flatMap((event) => (event.type === 'stage' ? [event.data.stage] : []));
  if (order.some((stage, i) => stage < (order[i - 1] ?? 1)))
    faults.push(`the stages were begun in the order ${order.join(', ')}`);
  for (const { stage, steps, tokens } of stages) {
    const begun = events.findLastIndex((event) => event.type === 'stage' && event.data.stage === stage);
    const event = events[begun];
    if (event?.type !== 'stage') {
      faults.push(`stage ${stage} was never begun`);
      continue;
    }
    if (event.data.steps !== steps || event.data.tokens !== tokens)
      faults.push(
        `stage ${stage} has ${event.data.steps} steps of ${event.data.tokens} tokens, planned were ${steps} of ${tokens}`,
      );
    const seen = events
      .slice(begun)
      .flatMap((one) => (one.type === 'step' && one.data.stage === stage ? [one.data.step] : []));
    if (seen.at(-1) !== steps || seen.some((step, i) => step < (seen[i - 1] ?? 1)))
      faults.push(`stage ${stage} told of the steps [${seen.join(', ')}], expected rising ones up to ${steps}`);
  }
  return faults;
}

/** Equal but for rounding: sums of many floats. */
const isNear = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-9 * Math.max(1e-6, Math.abs(a), Math.abs(b));

/**
 * Receipt of a job that is done: stages, tokens, steps and evaluations are the plan's; the stages' work adds up to that
 * of denoising, and with decoding and text to the whole; the ratio is that of the two; times are not negative, the
 * rooms fit into the whole, and what no stage server reported is the rest.
 */
export function brokenInReceipt({ stages, tflops, wall_ms }: Receipt, plan: Work): string[] {
  const faults: string[] = [];
  const shape = (all: Work['stages'] | Receipt['stages']): string =>
    all.map(({ stage, tokens, steps, evaluations }) => `${stage}: ${tokens}x${steps} (${evaluations})`).join(', ');
  if (shape(stages) !== shape(plan.stages))
    faults.push(`the receipt has the stages ${shape(stages)}, planned were ${shape(plan.stages)}`);
  const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);
  const worked = sum(stages.map((stage) => stage.tflops));
  if (!isNear(worked, tflops.denoise))
    faults.push(`the stages add up to ${worked} TFLOPs, the receipt says ${tflops.denoise}`);
  const total = tflops.denoise + tflops.decode + tflops.text;
  if (!isNear(total, tflops.total))
    faults.push(`denoising, decoding and text add up to ${total} TFLOPs, the receipt says ${tflops.total}`);
  if (tflops.ratio === null || !isNear(tflops.plain / tflops.denoise, tflops.ratio))
    faults.push(`the ratio is ${tflops.ratio}, plain over denoise is ${tflops.plain / tflops.denoise}`);

  const times = stages.map(({ compute_ms, decode_ms, encode_ms }) => [compute_ms, decode_ms, encode_ms]);
  if (times.flat().some((ms) => !(ms >= 0))) faults.push(`a stage took a negative time: ${times.join(', ')}`);
  const rooms = sum(wall_ms.rooms.map(({ ms }) => ms));
  if (rooms > wall_ms.total) faults.push(`the rooms took ${rooms} ms, all of it ${wall_ms.total} ms`);
  const rest = Math.max(0, wall_ms.total - sum(times.flat()));
  if (Math.abs(rest - wall_ms.orchestration) > 0.01)
    faults.push(`orchestration took ${wall_ms.orchestration} ms, the stages leave ${rest} ms`);
  return faults;
}
