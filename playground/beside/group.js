/**
 * Jobs side by side: each with its picture, what tells it from the others and how long it took; pressed, it is the one
 * that is shown. They are asked for until all have ended.
 *
 * @import { LinkedJob } from '../../src/job/links.ts'
 */

import { byId, element } from '../ground/element.js';
import { addressOf } from '../session/address.js';
import { storedKey } from '../wire/key.js';
import { getJob, Refusal } from '../wire/service.js';
import { countDone, isOver, tileName, tileState } from './tile.js';

const LOOK_MS = 800;

const list = element('ol', { className: 'group' });
const card = element(
  'section',
  { className: 'card', id: 'group-card', hidden: true, 'aria-labelledby': 'group-title' },
  element('div', { className: 'title' }, element('h2', { id: 'group-title' }, 'Side by side')),
  list,
);
byId('picture-card', HTMLElement).before(card);

/** what is shown of each, by its id @type {Map<string, { job: LinkedJob | null, link: HTMLAnchorElement }>} */
let tiles = new Map();
let looking = new AbortController();

/** Whether one of them still runs. */
export const isGroupBusy = () => [...tiles.values()].some(({ job }) => job !== null && !isOver(job.status));

/** @param {readonly string[]} ids @param {string | null} pinned */
function drawTiles(ids, pinned) {
  const all = [...tiles.values()].flatMap(({ job }) => job ?? []);
  // what tells one from the others is not known before all are
  const isNamed = all.length === tiles.size;
  for (const id of ids) {
    const { job, link } = tiles.get(id) ?? {};
    if (!job || !link) continue;
    const image = link.querySelector('img');
    if (job.image && image && !image.hasAttribute('src')) image.src = job.links.thumbnail ?? job.links.image;
    const [name, state] = link.querySelectorAll('b, small');
    if (name && isNamed) name.textContent = tileName(job, all, pinned);
    if (state) state.textContent = tileState(job);
  }
}

function makeTile() {
  const link = element(
    'a',
    {},
    element('span', { className: 'frame' }, element('img', { className: 'small', alt: '' })),
    element('b', {}, '…'),
    element('small', {}),
  );
  return { job: null, link };
}

/** @typedef {{ shown: string | null, pinned: string | null }} Which those that are marked */

/**
 * What was drawn last, and with which key it was asked for.
 *
 * @type {Which & { ids: readonly string[], key: string | null }}
 */
let drawn = { ids: [], shown: null, pinned: null, key: null };
/**
 * @typedef {object} GroupListeners
 * @property {(looked: { isOver: boolean, hasJustEnded: boolean }) => void} onLook it was looked how far they are:
 *   whether none runs, and whether one did before
 * @property {(id: string) => void} onErased one of them is gone
 * @property {(error: Refusal) => void} onError they are asked for no more
 */
/** @type {GroupListeners} */
let listeners;

/** @param {GroupListeners} own */
export function listenToGroup(own) {
  listeners = own;
}

/** How many of those that were asked for together are there, in a sentence. */
export const groupSentence = () =>
  countDone([...tiles].filter(([id]) => id !== drawn.pinned).map(([, { job }]) => job?.status));

/** Those that came to no picture. */
export const fruitlessJobs = () =>
  [...tiles.values()].flatMap(({ job }) => (job && isOver(job.status) && job.status !== 'done' ? [job] : []));

/**
 * Asks for those that have not ended, again and again, until the service refuses; `isAll`: once for the others too.
 *
 * @param {{ signal: AbortSignal, isAll?: boolean }} options
 */
async function look({ signal, isAll = false }) {
  while (true) {
    const open = [...tiles].filter(([, { job }]) => isAll || !isOver(job?.status));
    isAll = false;
    if (open.length === 0) return;
    const wasBusy = isGroupBusy();
    /** @type {string[]} */
    const erased = [];
    /** @type {Refusal | null} */
    let refusal = null;
    await Promise.all(
      open.map(async ([id, tile]) => {
        try {
          tile.job = await getJob(id, signal);
        } catch (error) {
          if (!(error instanceof Refusal) || error.isPassing) return;
          if (error.status === 404) erased.push(id);
          else refusal = error;
        }
      }),
    );
    if (signal.aborted) return;
    if (refusal) return listeners.onError(refusal);
    drawTiles(drawn.ids, drawn.pinned);
    const isBusy = isGroupBusy();
    listeners.onLook({ isOver: !isBusy, hasJustEnded: wasBusy && !isBusy });
    // who is told of these draws the rest
    for (const id of erased) listeners.onErased(id);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    if (signal.aborted) return;
  }
}

/** Looks at them from now on. @param {{ isAll: boolean }} options */
function lookFromNow({ isAll }) {
  looking.abort();
  looking = new AbortController();
  void look({ signal: looking.signal, isAll });
}

/** Looks whether all are still there. */
export const lookAgain = () => lookFromNow({ isAll: true });

/**
 * Shows these jobs side by side, or nothing where there are none.
 *
 * @param {readonly string[]} ids
 * @param {Which} which
 */
export function drawGroup(ids, { shown, pinned }) {
  const key = storedKey();
  // without one nothing can be asked; what is there stays
  if (key === null && ids.length > 0) return;
  const isSame = key === drawn.key && ids.join() === drawn.ids.join();
  if (isSame && shown === drawn.shown && pinned === drawn.pinned) return;
  card.hidden = ids.length === 0;
  drawn = { ids, shown, pinned, key };
  if (!isSame) {
    tiles = new Map(ids.map((id) => [id, tiles.get(id) ?? makeTile()]));
    list.replaceChildren(...[...tiles.values()].map(({ link }) => element('li', {}, link)));
    lookFromNow({ isAll: false });
  }
  for (const [id, { link }] of tiles) {
    link.href = addressOf({ job: id, group: ids });
    if (id === shown) link.setAttribute('aria-current', 'true');
    else link.removeAttribute('aria-current');
  }
  drawTiles(ids, pinned);
}

/** Those that still run, by id. */
export const runningJobs = () => [...tiles].flatMap(([id, { job }]) => (job && !isOver(job.status) ? [id] : []));
