/**
 * A picture on the whole screen, and from there the next and the last one of the history: by arrow keys or buttons.
 *
 * @import { ListedJob } from '../wire/service.js'
 */
import { element } from '../ground/element.js';
import { getJob } from '../wire/service.js';
import { hasOlder, listedPictures, loadOlder } from './history.js';
import { GONE } from './save.js';

/** What is shown of a picture. @typedef {Pick<ListedJob, 'id' | 'prompt' | 'preset' | 'seed' | 'links'>} Viewed */

const picture = element('img', { alt: '' });
const words = element('p');
const place = element('p', { className: 'place' });
/** @param {string} name @param {() => void} onclick */
const button = (name, onclick) => element('button', { type: 'button', onclick }, name);
const previous = button('Previous', () => step(-1));
const next = button('Next', () => step(1));
const dialog = element(
  'dialog',
  { id: 'viewer', 'aria-label': 'Picture, full screen' },
  picture,
  element(
    'div',
    { className: 'below' },
    element('div', { role: 'status' }, words, place),
    previous,
    next,
    button('Close', () => dialog.close()),
  ),
);

/** @type {readonly Viewed[]} */
let list = [];
let index = 0;

/** The link of a picture may have run out since the list was loaded. @param {Viewed} viewed */
async function renew({ id }) {
  const fresh = await getJob(id).catch(() => null);
  if (list[index]?.id !== id) return;
  if (fresh?.links.image && picture.getAttribute('src') !== fresh.links.image) picture.src = fresh.links.image;
  else words.textContent = GONE;
}

function show() {
  const viewed = /** @type {Viewed} */ (list[index]);
  const { prompt, preset, seed, links } = viewed;
  picture.alt = `Picture of “${prompt}”`;
  picture.onerror = () => renew(viewed);
  picture.src = links.image;
  words.textContent = `“${prompt}” · ${preset ?? 'custom'} · seed ${seed}`;
  // how many there are is known when all are listed
  const all = hasOlder() ? '' : ` of ${list.length}`;
  place.textContent = list.length > 1 ? `Picture ${index + 1}${all}` : '';
  previous.setAttribute('aria-disabled', String(index === 0));
  next.setAttribute('aria-disabled', String(index === list.length - 1 && !hasOlder()));
}

/** Goes to the picture made before (1) or after (-1) this one, as far as there is one. @param {1 | -1} by */
async function step(by) {
  const from = index;
  // one of an account's older pictures that the page has not listed yet
  if (by === 1 && index === list.length - 1 && (await loadOlder().catch(() => false))) list = listedPictures();
  if (!dialog.open || index !== from || !list[index + by]) return;
  index += by;
  show();
}

dialog.addEventListener('keydown', (event) => {
  const by = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : null;
  if (by === null) return;
  event.preventDefault();
  void step(by);
});
// the browser's own way out of the full screen is the way out of this too
document.addEventListener('fullscreenchange', () => {
  if (!document.fullscreenElement) dialog.close();
});
document.body.append(dialog);

/**
 * Shows a picture on the whole screen, or on the whole window where the browser gives no screen; resolves to the id of
 * the one that was looked at last.
 *
 * @param {Viewed} viewed
 * @returns {Promise<string>}
 */
export async function view(viewed) {
  const listed = listedPictures();
  const found = listed.findIndex(({ id }) => id === viewed.id);
  list = found < 0 ? [viewed] : listed;
  index = Math.max(0, found);
  show();
  // before the dialog: what comes later lies above
  await document.documentElement.requestFullscreen?.().catch(() => undefined);
  if (!dialog.open) dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener('close', resolve, { once: true }));
  if (document.fullscreenElement) await document.exitFullscreen().catch(() => undefined);
  return list[index]?.id ?? viewed.id;
}
