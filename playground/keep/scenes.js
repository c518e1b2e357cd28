/**
 * The scenes of a clip: what came of each stage, the picture, and the plain model's beside it. Pure.
 *
 * @import { Session } from '../session/session.js'
 * @import { Run } from '../session/run.js'
 */
import { counted, duration, times } from '../ground/figures.js';
import { comparisonOf } from '../session/news.js';
import { denoisingMs } from '../session/run.js';
import { nameOf } from '../session/session.js';

/**
 * Pictures that lie one over the other, the first at the bottom.
 *
 * @typedef {{ source: string, isCoarse: boolean, isDim?: boolean }[]} Layers
 */
/**
 * What is seen for a while: one picture, or two beside each other, each with what stands below it.
 *
 * @typedef {{ pictures: { layers: Layers, name: string }[], title: string, words: string, ms: number }} Scene
 */

/** How long a scene is seen, how long the last one, and how long one turns into the next. */
export const SCENE_MS = 1400;
export const LAST_MS = 2400;
export const TURN_MS = 250;

/** @param {Layers} layers @param {string} title @param {string} words @returns {Scene} */
const scene = (layers, title, words) => ({ pictures: [{ layers, name: '' }], title, words, ms: SCENE_MS });

/** Edges and blocks over the first picture. @param {Run} run @returns {Scene[]} */
function selectionScene({ stages, selection }) {
  const base = stages[0]?.picture;
  if (!base || !selection) return [];
  const { blocks, edges, indices } = selection;
  const over = [blocks, ...(edges ? [edges] : [])].map((source) => ({ source, isCoarse: true }));
  const layers = [{ source: base, isCoarse: true, isDim: true }, ...over];
  return [scene(layers, 'Edges and blocks', `${counted(indices.length, 'block')} made sharp early`)];
}

/** @param {Run} run */
const wholeTime = ({ receipt }) => (receipt ? duration(receipt.wall_ms.total) : '');

/**
 * The scenes of a finished job; `images` are the addresses of its picture and of the plain model's. Empty where it came
 * to no picture.
 *
 * @param {Session} session
 * @param {{ main: string, beside: string | null }} images
 * @returns {Scene[]}
 */
export function scenesOf(session, images) {
  const { main, beside } = session;
  const { run } = main;
  const { stages, receipt } = run;
  if (run.status !== 'done' || !run.image) return [];
  const last = stages.length;
  const byStage = stages.flatMap((stage) => {
    const isLast = stage.stage === last;
    const source = isLast ? images.main : stage.picture;
    if (source === null) return [];
    const ms = denoisingMs(run, stage);
    const words = [counted(stage.tokens, 'token'), counted(stage.steps, 'step'), ...(ms > 0 ? [duration(ms)] : [])];
    const title = last === 1 ? 'One stage' : `Stage ${stage.stage} of ${last}`;
    return [
      scene([{ source, isCoarse: stage.stage === 1 && !isLast }], title, words.join(' · ')),
      ...(stage.stage === 1 ? selectionScene(run) : []),
    ];
  });
  const pictures = [
    { source: images.main, run, name: nameOf(main) },
    ...(beside?.run.image && images.beside ? [{ source: images.beside, run: beside.run, name: 'plain' }] : []),
  ];
  const ratio = receipt?.tflops.ratio ?? null;
  const saving = ratio !== null && ratio > 1 ? `${times(ratio)} less work than the plain model` : '';
  /** @type {Scene} */
  const end = {
    pictures: pictures.map(({ source, run: own, name }) => ({
      layers: [{ source, isCoarse: false }],
      name: pictures.length > 1 ? `${name}: ${wholeTime(own)}` : '',
    })),
    title: pictures.length > 1 ? (comparisonOf(session) ?? '') : `Made in ${wholeTime(run)}`,
    words: saving,
    ms: LAST_MS,
  };
  return [...byStage, end];
}

/** Length of a clip, ms. @param {readonly Scene[]} scenes */
export const lengthOf = (scenes) => scenes.reduce((sum, { ms }) => sum + ms, 0);

/**
 * The scene at a moment of a clip, and how much of it is seen over the one before, in [0, 1].
 *
 * @param {readonly Scene[]} scenes
 * @param {number} moment ms from the start; after the end the last scene is seen
 */
export function sceneAt(scenes, moment) {
  let began = 0;
  let index = 0;
  for (; index < scenes.length - 1; index++) {
    const end = began + (scenes[index]?.ms ?? 0);
    if (moment < end) break;
    began = end;
  }
  return { index, share: index === 0 ? 1 : Math.min(1, Math.max(0, (moment - began) / TURN_MS)) };
}
