/**
 * Tools for pictures, which nobody needs before there is one: loaded when the form is there.
 *
 * @import { Looked } from '../beside/group.js'
 * @import { Session } from '../session/session.js'
 */

import { drawGroup, listenToGroup } from '../beside/group.js';
import { addStyle, byId } from '../ground/element.js';
import { listenToClipButton } from '../keep/clip-button.js';
import { listenToDrops } from '../keep/drop.js';
import { addressOf, parseAddress } from '../session/address.js';
import { onDemand } from '../wire/service.js';

export { cancelGroup, fruitlessJobs, groupSentence, isGroupBusy } from '../beside/group.js';

const pin = byId('pin', HTMLButtonElement);
/** the job that stands beside the next ones @type {string | null} */
let pinned = null;

/** The job that is pinned. */
export const pinnedJob = () => pinned;

/** A job is gone: it stands beside nothing any more. @param {string} id */
export function unpin(id) {
  if (id === pinned) pinned = null;
}

/** The picture on the whole screen; the one looked at last there is shown. @param {Session} session */
async function viewPicture({ main: { job } }) {
  const { view } = await onDemand(import('../keep/viewer.js'));
  const last = await view(job);
  if (last === job.id) return;
  const { group = [] } = parseAddress(location.hash) ?? {};
  // those side by side stay; one of the history has the pinned one beside it
  const beside = pinned === null || pinned === last ? [] : [pinned, last];
  location.hash = addressOf({ job: last, group: group.includes(last) ? group : beside });
  // the button that was pressed is gone until the picture is there
  byId('results', HTMLElement).focus({ preventScroll: true });
}

/** Draws the tools for what is shown, and the jobs side by side. @param {Session | null} session */
export function drawTools(session) {
  const { job = null, group = [] } = parseAddress(location.hash) ?? {};
  pin.setAttribute('aria-pressed', String(session !== null && session.main.job.id === pinned));
  drawGroup(session ? group : [], { shown: job, pinned });
}

/**
 * Puts the tools to the page; resolves when they have their style, before which nothing of theirs is drawn.
 *
 * @param {{ shown: () => Session | null, onError: (error: unknown) => void, onGroup: (looked: Looked) => void }} page
 *   `onGroup` is told when jobs side by side were looked at
 * @returns {Promise<unknown>}
 */
export function listenToTools({ shown, onError, onGroup }) {
  listenToGroup(onGroup);
  pin.onclick = () => {
    const session = shown();
    const id = session?.main.job.id ?? null;
    pinned = id === pinned ? null : id;
    drawTools(session);
  };
  // bare tools are better than none
  const styled = addStyle('style/tools.css').catch(() => undefined);
  byId('full-screen', HTMLButtonElement).onclick = () => {
    const session = shown();
    if (session) viewPicture(session).catch(onError);
  };
  listenToClipButton({ shown, onError });
  listenToDrops();
  return styled;
}
