/**
 * What is said of pictures that stand side by side. Pure.
 *
 * @import { LinkedJob } from '../../src/job/links.ts'
 */
import { duration } from '../ground/figures.js';
import { denoised } from '../session/run.js';

/** @typedef {Pick<LinkedJob, 'id' | 'prompt' | 'preset' | 'seed'>} Named */

/** Characters of a prompt that name a picture. */
const MOST_NAMED = 60;
const ENDED = ['done', 'failed', 'cancelled'];

/** Whether nothing more comes of a job. @param {string | undefined} status */
export const isOver = (status) => status !== undefined && ENDED.includes(status);

/** @param {string} prompt */
function cut(prompt) {
  const head = [...prompt.slice(0, 2 * MOST_NAMED)].slice(0, MOST_NAMED).join('');
  return head.length < prompt.length ? `${head.trimEnd()}…` : prompt;
}

/**
 * What tells one picture from the others. The one that is pinned differs from the rest in any case, so it counts only
 * for itself, and where there is one other.
 *
 * @param {Named} job
 * @param {readonly Named[]} all
 * @param {string | null} pinned its id
 */
export function tileName(job, all, pinned) {
  const others = all.filter(({ id }) => id !== pinned);
  const peers = job.id === pinned || others.length < 2 ? all : others;
  const { prompt, preset, seed } = job;
  const differ = (/** @type {'preset' | 'seed' | 'prompt'} */ field) =>
    new Set(peers.map((one) => one[field])).size > 1;
  const names = [
    ...(differ('prompt') ? [`“${cut(prompt)}”`] : []),
    ...(differ('preset') ? [preset ?? 'custom'] : []),
    ...(differ('seed') ? [`seed ${seed}`] : []),
  ];
  const name = names.join(' · ') || `${preset ?? 'custom'} · seed ${seed}`;
  return job.id === pinned ? `${name} · pinned` : name;
}

/** How far a picture is, or how long it took. @param {Pick<LinkedJob, 'status' | 'receipt'>} job */
export const tileState = ({ status, receipt }) =>
  status === 'done' && receipt ? `${duration(denoised(receipt))} of denoising` : status;

/** How many of several are there, in a sentence. @param {readonly (string | undefined)[]} statuses */
export function countDone(statuses) {
  const done = statuses.filter((status) => status === 'done').length;
  return done === statuses.length
    ? `All ${done} pictures are there.`
    : `${done} of ${statuses.length} pictures ${done === 1 ? 'is' : 'are'} there.`;
}
