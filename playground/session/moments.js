/**
 * The moments of a run that one can look at, and what is seen in each: one a stage, and between the first and the
 * second the search for edges. Pure.
 *
 * @import { Run, StageRun } from './run.js'
 */
import { counted, duration } from '../ground/figures.js';
import { denoisingMs, hasEnded, numStepsDone } from './run.js';

/** The key of the moment between the first and the second stage; the others have their stage's number. */
export const SEARCH = 'selection';

/**
 * @typedef {object} Moment
 * @property {string} key
 * @property {string} name
 * @property {string} facts how much there is to do
 * @property {string} time what it took, or `–`
 * @property {string} sentence what happens in it
 * @property {'waiting' | 'running' | 'done' | 'stopped'} state
 * @property {number} steps
 * @property {number} stepsDone
 * @property {string | null} trouble why it is tried again
 */

/**
 * A picture; `isRough`: of a step on the way.
 *
 * @typedef {{ source: string, words: string, isCoarse: boolean, isRough: boolean }} Shown
 */
/**
 * Squares of the low-resolution grid; `split` are those that have become four.
 *
 * @typedef {{ rows: number, cols: number, split: readonly number[] | 'all' }} Grid
 */
/**
 * What a frame shows. `splits` are squares that become four before one's eyes.
 *
 * @typedef {object} Scene
 * @property {Shown | null} base
 * @property {boolean} isDim
 * @property {Shown | null} edges
 * @property {Shown | null} blocks
 * @property {Grid | null} grid
 * @property {Grid | null} splits
 * @property {boolean} isLive it is not over: something is on its way
 */
/**
 * `image` is the address of the finished picture; `layers` are what is laid over the first picture.
 *
 * @typedef {object} Look
 * @property {string} prompt
 * @property {string} image
 * @property {boolean} isGridShown
 * @property {boolean} isHeld somebody holds this moment
 * @property {{ edges: boolean, blocks: boolean }} layers
 */

/** @type {readonly number[]} */
const NONE = [];

/** @param {Run} run */
const isSearched = ({ plan }) => (plan?.selected.length ?? 0) > 0 && plan?.selection !== 'none';

/** @param {number} stage @param {number} count */
function nameOf(stage, count) {
  if (stage === count) return 'Full resolution';
  return stage === 1 ? 'Low resolution' : 'Mixed resolution';
}

/** @param {number} stage @param {number} count */
function sentenceOf(stage, count) {
  if (count === 1) return 'The plain model: every step at full resolution.';
  if (stage === 1) return 'A quarter of the tokens, so a step costs a fraction.';
  return stage === count
    ? 'Every block is sharp now, and the last steps finish the picture.'
    : 'Sharp where the edges are, coarse everywhere else.';
}

/**
 * Whether a stage has given its picture over, or the next one goes on from it.
 *
 * @param {Run} run
 * @param {StageRun} stage
 */
const isOver = ({ stages, image }, { stage, picture }) =>
  stage === stages.length ? image !== null : picture !== null || (stages[stage]?.beganAt ?? null) !== null;

/** @param {Run} run @param {StageRun} state @returns {Moment} */
function stageMoment(run, state) {
  const { stage, tokens, steps, beganAt, trouble } = state;
  const count = run.stages.length;
  const ms = denoisingMs(run, state);
  const isDone = isOver(run, state);
  return {
    key: String(stage),
    name: count === 1 ? nameOf(stage, count) : `${stage} · ${nameOf(stage, count)}`,
    facts: `${counted(tokens, 'token')} · ${counted(steps, 'step')}`,
    time: ms > 0 ? duration(ms) : '–',
    sentence: sentenceOf(stage, count),
    state: isDone ? 'done' : beganAt === null ? 'waiting' : hasEnded(run) ? 'stopped' : 'running',
    steps,
    stepsDone: isDone ? steps : numStepsDone(state),
    trouble,
  };
}

/** @param {Run} run @returns {Moment} */
function searchMoment({ plan, stages, selection }) {
  const chosen = selection?.indices.length ?? plan?.selected[0] ?? 0;
  const edgePixels = selection?.edgePixels ?? null;
  // without any edge the order of the blocks decides; a Worker's clock may stand still while it computes
  const found =
    edgePixels === null ? 'by latent detail' : edgePixels === 0 ? 'no edges found' : counted(edgePixels, 'edge pixel');
  return {
    key: SEARCH,
    name: 'Edges and blocks',
    facts: `${chosen} of ${counted(stages[0]?.tokens ?? 0, 'block')}`,
    time: selection ? `${found}${selection.ms > 0 ? ` · ${duration(selection.ms)}` : ''}` : '–',
    sentence: `The ${counted(chosen, 'block')} with most ${selection && !selection.edges ? 'detail' : 'edges'} become four tokens each, the others stay one.`,
    state: selection ? 'done' : 'waiting',
    steps: 1,
    stepsDone: selection ? 1 : 0,
    trouble: null,
  };
}

/** Every moment of a run, in order, whether it has come yet or not. @param {Run} run @returns {Moment[]} */
export const momentsOf = (run) =>
  run.stages.flatMap((stage) => [
    stageMoment(run, stage),
    ...(stage.stage === 1 && isSearched(run) ? [searchMoment(run)] : []),
  ]);

/**
 * What is said of a run that has ended: how, and what it took or how far it came; null while it goes on.
 *
 * @param {Run} run
 * @returns {{ name: string, facts: string, sentence: string } | null}
 */
export function endingOf(run) {
  if (!hasEnded(run)) return null;
  const { status, stages, receipt } = run;
  if (status === 'done') {
    const steps = counted(
      stages.reduce((sum, stage) => sum + stage.steps, 0),
      'step',
    );
    return {
      name: 'Finished',
      facts: receipt ? `${steps} · ${duration(receipt.wall_ms.total)} in all` : steps,
      sentence: 'Press a small picture to see that step.',
    };
  }
  const last = stages.findLast(({ beganAt }) => beganAt !== null);
  const place = last && stages.length > 1 ? `In stage ${last.stage} of ${stages.length}, after` : 'After';
  return {
    name: status === 'cancelled' ? 'Cancelled' : 'Failed',
    facts: last ? `${place} step ${numStepsDone(last)} of ${last.steps}.` : 'Before the first stage.',
    sentence: '',
  };
}

/** The key of the moment that a run is in, or has ended in. @param {Run} run */
export function momentNow({ stages, selection }) {
  const current = stages.findLast(({ beganAt }) => beganAt !== null)?.stage ?? 1;
  return current === 1 && selection ? SEARCH : String(current);
}

/**
 * Sides of the low-resolution grid: half the picture's tokens a side, in the picture's proportions. @param {Run} run
 */
function lowGrid({ stages, size, selection }) {
  if (selection) return { rows: selection.rows, cols: selection.cols };
  const full = stages.at(-1)?.tokens ?? 1;
  const rows = Math.max(1, Math.round(Math.sqrt((full * size.height) / size.width) / 2));
  return { rows, cols: Math.max(1, Math.round(full / 4 / rows)) };
}

/**
 * The tokens of a stage. With four stages or more the later mixed grids follow from a ranking that the events do not
 * tell: null then.
 *
 * @param {Run} run
 * @param {number} stage
 * @returns {Grid | null}
 */
function gridOf(run, stage) {
  if (stage === run.stages.length) return { ...lowGrid(run), split: 'all' };
  if (stage > 2) return null;
  return { ...lowGrid(run), split: stage === 1 ? NONE : (run.selection?.indices ?? NONE) };
}

/**
 * A stage's own picture, once it is there.
 *
 * @param {Run} run
 * @param {StageRun} state
 * @param {Look} look
 * @returns {Shown | null}
 */
function pictureOf(run, { stage, picture }, { prompt, image }) {
  const count = run.stages.length;
  if (stage === count)
    return run.image ? { source: image, words: `Picture of “${prompt}”`, isCoarse: false, isRough: false } : null;
  return picture === null
    ? null
    : { source: picture, words: `“${prompt}” after stage ${stage}`, isCoarse: stage === 1, isRough: false };
}

/** The newest of a stage's pictures on the way. @param {StageRun} state @param {Look} look @returns {Shown | null} */
const roughOf = ({ stage, thumbnail }, { prompt }) =>
  thumbnail === null
    ? null
    : { source: thumbnail, words: `A rough picture of “${prompt}”, in stage ${stage}`, isCoarse: true, isRough: true };

/** What a frame shows before anything is there. @type {Scene} */
const NOTHING = { base: null, isDim: false, edges: null, blocks: null, grid: null, splits: null, isLive: false };

/**
 * The first picture with its edges over it. As it happens, the chosen squares become four; where it is held, they are
 * tinted.
 *
 * @param {Run} run
 * @param {Look} look
 * @returns {Scene}
 */
function searchScene(run, look) {
  const { selection, stages } = run;
  const isLive = !look.isHeld && !hasEnded(run);
  const low = { ...lowGrid(run), split: NONE };
  const first = stages[0];
  if (!selection || !first) return { ...NOTHING, grid: low, isLive };
  const { layers } = look;
  /** @param {string | null} source @param {string} words */
  const over = (source, words) => (source === null ? null : { source, words, isCoarse: true, isRough: false });
  const edges = layers.edges ? over(selection.edges, 'Edges found in the picture of stage 1, in white') : null;
  return {
    base: pictureOf(run, first, look),
    isDim: edges !== null,
    edges,
    blocks:
      layers.blocks && !isLive
        ? over(
            selection.blocks,
            `The ${counted(selection.indices.length, 'block')} with most ${selection.edges ? 'edges' : 'detail'}, tinted`,
          )
        : null,
    grid: isLive || look.isGridShown ? low : null,
    splits: isLive ? { ...low, split: selection.indices } : null,
    isLive,
  };
}

/** @param {Run} run @param {StageRun} state @param {Look} look @returns {Scene} */
function stageScene(run, state, look) {
  const { stage, beganAt, thumbnail } = state;
  const isLive = !look.isHeld && !hasEnded(run);
  const own = pictureOf(run, state, look);
  if (own) return { ...NOTHING, base: own, grid: look.isGridShown ? gridOf(run, stage) : null, isLive };
  if (isLive && stage === 2 && run.selection && thumbnail === null)
    return searchScene(run, { ...look, layers: { edges: true, blocks: false } });
  // until it has something of its own, what there is of the stages before
  const before = run.stages.slice(0, stage - 1).findLast((one) => one.picture !== null || one.thumbnail !== null);
  const base =
    roughOf(state, look) ??
    (before && beganAt !== null ? (pictureOf(run, before, look) ?? roughOf(before, look)) : null);
  return {
    ...NOTHING,
    base,
    grid: look.isGridShown || !hasEnded(run) ? gridOf(run, stage) : null,
    isLive,
  };
}

/** What is seen of a moment. @param {Run} run @param {string} key @param {Look} look @returns {Scene} */
export function sceneOf(run, key, look) {
  if (key === SEARCH) return searchScene(run, look);
  const state = run.stages[Number(key) - 1];
  return state ? stageScene(run, state, look) : { ...NOTHING, isLive: !hasEnded(run) };
}
