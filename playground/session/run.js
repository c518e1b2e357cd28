/**
 * What the page knows of a job, gathered from its events alone: `advance(run, event)` gives the next run and changes
 * nothing. Pure, so a reload, a lost connection and a second look in slow motion all draw from the same events.
 *
 * @import { SeenEvent, Picture } from '../../src/job/events.ts'
 * @import { CostView } from '../../src/billing/charge.ts'
 * @import { PlanView, ImageView, JobFailure } from '../../src/job/job.ts'
 * @import { Receipt } from '../../src/billing/receipt.ts'
 */

/**
 * @typedef {object} StageRun
 * @property {number} stage
 * @property {number} tokens
 * @property {number} steps
 * @property {readonly number[]} sigmas noise levels: where each step starts, and where the last one ends
 * @property {number | null} beganAt when its request went out
 * @property {readonly { step: number, at: number, ms: number }[]} stepsDone those heard of, which need not be all:
 * when, and what each took
 * @property {string | null} picture address of its picture
 * @property {string | null} thumbnail address of the newest rough picture, of a step on the way: `picture`, once it is
 * there, takes its place
 * @property {string | null} trouble why it is tried again
 */

/**
 * @typedef {object} Selection
 * @property {number} rows
 * @property {number} cols
 * @property {readonly number[]} indices
 * @property {number | null} edgePixels null where the latents told, and no picture was searched
 * @property {number} ms
 * @property {string | null} edges
 * @property {string} blocks
 */

/**
 * @typedef {object} Run
 * @property {'queued' | 'running' | 'done' | 'failed' | 'cancelled'} status
 * @property {string | null} waiting what it waits for, while it does
 * @property {PlanView | null} plan
 * @property {{ width: number, height: number }} size
 * @property {readonly StageRun[]} stages
 * @property {Selection | null} selection
 * @property {number | null} beganAt when the first stage request went out, or the job was made
 * @property {number} at time of the newest event
 * @property {ImageView | null} image
 * @property {Receipt | null} receipt
 * @property {JobFailure | null} failure
 * @property {CostView | null} cost as far as it is known; null where nothing is charged
 */

/** A job of which nothing is known yet. @type {Run} */
export const UNKNOWN = {
  status: 'queued',
  waiting: null,
  plan: null,
  size: { width: 1, height: 1 },
  stages: [],
  selection: null,
  beganAt: null,
  at: 0,
  image: null,
  receipt: null,
  failure: null,
  cost: null,
};

/** Whether nothing more will happen. @param {Run} run */
export const hasEnded = ({ status }) => status === 'done' || status === 'failed' || status === 'cancelled';

/** @param {Picture} picture */
const addressOf = ({ format, b64_json }) => `data:image/${format};base64,${b64_json}`;

/** Reasons of a `retry` in words. */
const TROUBLE = new Map([
  ['unreachable', 'The stage server cannot be reached'],
  ['timeout', 'The stage server took too long'],
  ['invalid_response', 'The stage server sent something unreadable'],
  ['server_error', 'The stage server failed'],
  ['gateway', 'Something between here and the stage server answered in its place'],
  ['reported', 'The stage server reported a fault'],
  ['storage_failed', 'The picture could not be stored'],
]);

/** @param {{ position: number | null, eta_ms: number | null }} queued */
function waitingFor({ position, eta_ms }) {
  const place =
    position === null
      ? 'Waiting for the stage server'
      : `Waiting for the stage server, number ${position} in its queue`;
  return eta_ms === null ? `${place}.` : `${place}, about ${Math.max(1, Math.round(eta_ms / 1000))} s.`;
}

/**
 * @param {Run} run
 * @param {SeenEvent} event
 * @returns {Run}
 */
export function advance(run, event) {
  const { at } = event;
  switch (event.type) {
    case 'queued':
      return { ...run, at, waiting: event.data.stage === null ? null : waitingFor(event.data) };
    case 'plan': {
      const { width, height, model: _model, seed: _seed, cost, ...plan } = event.data;
      const stages = plan.stages.map(({ stage, tokens, steps, sigmas }) => ({
        stage,
        tokens,
        steps,
        sigmas,
        beganAt: null,
        stepsDone: [],
        picture: null,
        thumbnail: null,
        trouble: null,
      }));
      // events of an older version do not tell a cost
      return { ...run, at, plan, size: { width, height }, stages, cost: cost ?? null };
    }
    case 'stage':
      // a repeated attempt tells its steps again, from the first
      return inStage(
        { ...run, at, status: 'running', waiting: null, beganAt: run.beganAt ?? at },
        event.data.stage,
        (stage) => ({
          ...stage,
          beganAt: stage.beganAt ?? at,
          stepsDone: [],
          thumbnail: null,
        }),
      );
    case 'step': {
      const { step, ms } = event.data;
      // one that was told before it was stored comes again
      return inStage({ ...run, at, waiting: null }, event.data.stage, (stage) => ({
        ...stage,
        stepsDone: step > numStepsDone(stage) ? [...stage.stepsDone, { step, at, ms }] : stage.stepsDone,
        trouble: null,
      }));
    }
    case 'retry': {
      const { stage, reason } = event.data;
      // told once for all attempts at a server that takes nothing, so it counts neither them nor the seconds
      const trouble = `${TROUBLE.get(reason) ?? `The stage failed (${reason})`}; trying again.`;
      return inStage({ ...run, at }, stage, (now) => ({ ...now, trouble }));
    }
    case 'preview':
      return inStage({ ...run, at }, event.data.stage, (stage) => ({ ...stage, picture: addressOf(event.data) }));
    case 'thumbnail':
      return inStage({ ...run, at, waiting: null }, event.data.stage, (stage) => ({
        ...stage,
        thumbnail: addressOf(event.data),
      }));
    case 'selection': {
      const { rows, cols, indices, edge_pixels: edgePixels, ms, edges, blocks } = event.data;
      return {
        ...run,
        at,
        selection: { rows, cols, indices, edgePixels, ms, edges: edges && addressOf(edges), blocks: addressOf(blocks) },
      };
    }
    case 'done':
      return {
        ...run,
        at,
        status: 'done',
        image: event.data.image,
        receipt: event.data.receipt,
        cost: event.data.cost ?? null,
      };
    case 'failed':
      return { ...run, at, status: 'failed', waiting: null, failure: event.data, cost: event.data.cost ?? null };
    case 'cancelled':
      return { ...run, at, status: 'cancelled', waiting: null, cost: event.data.cost ?? null };
  }
}

/** How many steps of a stage are done. @param {StageRun} stage */
export const numStepsDone = ({ stepsDone }) => stepsDone.at(-1)?.step ?? 0;

/**
 * @param {Run} run
 * @param {number} number
 * @param {(stage: StageRun) => StageRun} change
 * @returns {Run}
 */
const inStage = (run, number, change) => ({
  ...run,
  stages: run.stages.map((stage) => (stage.stage === number ? change(stage) : stage)),
});

/**
 * Milliseconds of a stage's denoising: as its server reported them in the end, until then its steps, those not heard of
 * as long as the others. @param {Run} run @param {StageRun} stage
 */
export const denoisingMs = (run, stage) =>
  run.receipt?.stages.find((done) => done.stage === stage.stage)?.compute_ms ??
  (stage.stepsDone.reduce((sum, { ms }) => sum + ms, 0) * numStepsDone(stage)) / Math.max(1, stage.stepsDone.length);

/** All denoising of a finished job, in milliseconds. @param {Receipt} receipt */
export const denoised = (receipt) => receipt.stages.reduce((sum, { compute_ms }) => sum + compute_ms, 0);
