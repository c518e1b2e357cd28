/**
 * Jobs side by side: each with its picture, what tells it from the others and how long it took; pressed, it is the one
 * that is shown. They are asked for until all have ended.
 *
 * @import { LinkedJob } from '../../src/job/links.ts'
 */

import { byId, element } from '../ground/element.js';
import { addressOf } from '../session/address.js';
import { cancelJob, getJob, Refusal } from '../wire/service.js';
import { isPinned, unpin } from './pin.js';
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

/** what was drawn last @type {Which & { ids: readonly string[] }} */
let drawn = { ids: [], shown: null, pinned: null };
/** whether none runs, and whether one did before @typedef {{ isOver: boolean, hasJustEnded: boolean }} Looked */
/** @type {(looked: Looked) => void} */
let onLook = () => undefined;

/** Calls `listener` whenever it was looked how far they are. @param {(looked: Looked) => void} listener */
export function listenToGroup(listener) {
  onLook = listener;
}

/** How many of those that were asked for together are there, in a sentence. */
export const groupSentence = () =>
  countDone([...tiles].filter(([id]) => id !== drawn.pinned).map(([, { job }]) => job?.status));

/** Those that came to no picture. */
export const fruitlessJobs = () =>
  [...tiles.values()].flatMap(({ job }) => (job && isOver(job.status) && job.status !== 'done' ? [job] : []));

/** Asks for those that have not ended, again and again. @param {readonly string[]} ids @param {AbortSignal} signal */
async function look(ids, signal) {
  while (true) {
    const open = ids.filter((id) => !isOver(tiles.get(id)?.job?.status));
    if (open.length === 0) return;
    const wasBusy = isGroupBusy();
    await Promise.all(
      open.map(async (id) => {
        const tile = tiles.get(id);
        const found = await getJob(id, signal).catch((error) => (error instanceof Refusal ? error : null));
        if (signal.aborted || !tile || !found) return;
        if (!(found instanceof Refusal)) tile.job = found;
        // erased: there is nothing to wait for
        else if (found.status === 404) {
          tile.link.parentElement?.remove();
          tiles.delete(id);
          // those made next do not stand beside it
          if (isPinned(id)) unpin();
        }
      }),
    );
    if (signal.aborted) return;
    drawTiles(ids, drawn.pinned);
    const isBusy = isGroupBusy();
    onLook({ isOver: !isBusy, hasJustEnded: wasBusy && !isBusy });
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    ids = ids.filter((id) => tiles.has(id));
  }
}

/**
 * Shows these jobs side by side, or nothing where there are none.
 *
 * @param {readonly string[]} ids
 * @param {Which} which
 */
export function drawGroup(ids, { shown, pinned }) {
  const isSame = ids.join() === drawn.ids.join();
  if (isSame && shown === drawn.shown && pinned === drawn.pinned) return;
  card.hidden = ids.length === 0;
  drawn = { ids, shown, pinned };
  if (!isSame) {
    looking.abort();
    looking = new AbortController();
    tiles = new Map(ids.map((id) => [id, tiles.get(id) ?? makeTile()]));
    list.replaceChildren(...[...tiles.values()].map(({ link }) => element('li', {}, link)));
    void look(ids, looking.signal);
  }
  for (const [id, { link }] of tiles) {
    link.href = addressOf({ job: id, group: ids });
    if (id === shown) link.setAttribute('aria-current', 'true');
    else link.removeAttribute('aria-current');
  }
  drawTiles(ids, pinned);
}

/** Cancels those that still run. */
export async function cancelGroup() {
  for (const [id, { job }] of tiles) if (job && !isOver(job.status)) await cancelJob(id);
}
