/**
 * The account's jobs, newest first, each with a link that shows it again.
 *
 * @import { ListedJob } from '../wire/service.js'
 */

import { byId, element } from '../ground/element.js';
import { addressOf, parseAddress } from '../session/address.js';
import { storedKey } from '../wire/key.js';
import { eraseJob, listJobs } from '../wire/service.js';
import { tellTabs } from '../wire/tabs.js';

const list = byId('history', HTMLOListElement);
const older = byId('older', HTMLButtonElement);
const card = byId('history-card', HTMLElement);

/** what was erased here: a list that was on its way meanwhile still holds it @type {Set<string>} */
const erased = new Set();
/** the items that are shown, by job: one that comes again stays, and its picture with it @type {Map<string, Item>} */
let items = new Map();
/** @type {string | null} */
let cursor = null;
/**
 * @typedef {object} Listeners
 * @property {(id: string) => void} onErased a job is gone
 * @property {(error: unknown) => void} onError
 */
/** @type {Listeners} */
let listeners;

/** @typedef {{ element: HTMLElement, job: ListedJob }} Item */

/** @param {ListedJob} job */
function makeItem(job) {
  const { id, prompt, preset, seed, status, image, links } = job;
  const thumb = image
    ? element('img', { className: 'thumb', alt: '', src: links.thumbnail ?? links.image, loading: 'lazy' })
    : element('span', { className: 'thumb' });
  const state = status === 'done' ? '' : ` · ${status}`;
  const words = element(
    'span',
    { className: 'words' },
    element('b', {}, prompt),
    element('small', {}, `${preset ?? 'custom'} · seed ${seed}${state}`),
  );
  const link = element('a', { href: addressOf({ job: id }) }, thumb, words);
  const erase = element(
    'button',
    { type: 'button', title: 'Erase', 'aria-label': `Erase “${prompt}”, seed ${seed}` },
    '✕',
  );
  const item = element('li', {}, link, erase);
  item.dataset.job = id;
  erase.onclick = async () => {
    if (!confirm(`Erase “${prompt}”? Its picture and everything about it will be gone.`)) return;
    try {
      await eraseJob(id);
      erased.add(id);
      items.delete(id);
      tellTabs();
      // the list may have been drawn anew while the job was being erased
      const shown = list.querySelector(`[data-job="${id}"]`);
      const next = shown?.nextElementSibling ?? shown?.previousElementSibling;
      shown?.remove();
      // the keyboard stays where one goes on
      (next?.querySelector('a') ?? byId('prompt', HTMLTextAreaElement)).focus();
      card.hidden = list.children.length === 0;
      listeners.onErased(id);
    } catch (error) {
      listeners.onError(error);
    }
  };
  return item;
}

/** Marks the job that the address names. */
export function markInHistory() {
  const job = parseAddress(location.hash)?.job;
  for (const item of list.children) {
    const link = item.querySelector('a');
    if (item instanceof HTMLElement && item.dataset.job === job) link?.setAttribute('aria-current', 'true');
    else link?.removeAttribute('aria-current');
  }
}

/** @param {string | null} after */
async function load(after) {
  const key = storedKey();
  const page = await listJobs(after);
  // of an account that has been left meanwhile
  if (storedKey() !== key) return [];
  const known = items;
  if (after === null) items = new Map();
  const shown = page.data
    .filter(({ id }) => !erased.has(id))
    .map((job) => {
      const before = known.get(job.id);
      const item = before?.job.status === job.status ? before : { element: makeItem(job), job };
      items.set(job.id, item);
      return item.element;
    });
  const focused = document.activeElement;
  if (after === null) list.replaceChildren(...shown);
  else list.append(...shown);
  if (focused instanceof HTMLElement && list.contains(focused)) focused.focus({ preventScroll: true });
  cursor = page.next_cursor;
  older.hidden = !page.has_more;
  card.hidden = list.children.length === 0;
  return shown;
}

/** Draws the newest page. */
export async function drawHistory() {
  await load(null);
  markInHistory();
}

/** The list of jobs has changed here: it is drawn anew, in other tabs too. */
export function jobsChanged() {
  tellTabs();
  return drawHistory();
}

/** The jobs listed that have a picture, newest first. */
export const listedPictures = () => [...items.values()].map(({ job }) => job).filter(({ image }) => image !== null);

/** Whether the account has jobs that are not listed yet. */
export const hasOlder = () => !older.hidden;

/** Lists a page of older jobs; false where there are none. */
export async function loadOlder() {
  if (!hasOlder()) return false;
  await load(cursor);
  return true;
}

/** @param {Listeners} own */
export function listenToHistory(own) {
  listeners = own;
  older.onclick = async () => {
    try {
      const [first] = await load(cursor);
      first?.querySelector('a')?.focus();
    } catch (error) {
      listeners.onError(error);
    }
  };
}
