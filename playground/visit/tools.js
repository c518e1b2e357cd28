/**
 * Tools for pictures that are there: what stands side by side, the full screen, clips, links. Fetched by the toolbox.
 *
 * @import { GroupListeners } from '../beside/group.js'
 * @import { Session } from '../session/session.js'
 * @import { Showing } from './showing.js'
 */
import { drawGroup, listenToGroup } from '../beside/group.js';
import { isPinned, pin, pinnedJob, unpin } from '../beside/pin.js';
import { addStyle, byId } from '../ground/element.js';
import { listenToClipButton } from '../keep/clip-button.js';
import { listenToDrops } from '../keep/drop.js';
import { listenToPictureButtons } from '../keep/picture-buttons.js';
import { addressOf, parseAddress } from '../session/address.js';
import { onDemand } from '../wire/on-demand.js';
import { listenToReplay } from './replay.js';

export { fruitlessJobs, groupSentence, isGroupBusy, lookAgain, runningJobs } from '../beside/group.js';

/** What can be done with a picture, once it is there. */
const FOR_PICTURES = ['play', 'tools', 'download', 'copy-picture', 'share'].map((id) => byId(id, HTMLElement));
const pinButton = byId('pin', HTMLButtonElement);

/** The picture on the whole screen; the one looked at last there is shown. @param {Session} session */
async function viewPicture({ main: { job } }) {
  const { view } = await onDemand(() => import('../keep/viewer.js'));
  const last = await view(job);
  if (last === job.id) return;
  const { group = [] } = parseAddress(location.hash) ?? {};
  const pinned = pinnedJob();
  // those side by side stay; one of the history has the pinned one beside it
  const beside = pinned === null || pinned === last ? [] : [pinned, last];
  location.hash = addressOf({ job: last, group: group.includes(last) ? group : beside });
  // the button that was pressed is gone until the picture is there
  byId('results', HTMLElement).focus({ preventScroll: true });
}

/** Draws the tools for what is shown, and the jobs side by side. @param {Session | null} session */
export function drawTools(session) {
  // while it is played again, what can be done with it stays where it is
  for (const part of FOR_PICTURES) part.hidden = !session?.main.run.image;
  const { job = null, group = [] } = parseAddress(location.hash) ?? {};
  pinButton.setAttribute('aria-pressed', String(session !== null && isPinned(session.main.job.id)));
  drawGroup(session ? group : [], { shown: job, pinned: pinnedJob() });
}

/**
 * Puts the tools to the page; resolves when they have their style, before which nothing of theirs is drawn.
 *
 * @param {{ showing: Showing, onError: (error: unknown) => void } & Omit<GroupListeners, 'onError'>} page
 * @returns {Promise<unknown>}
 */
export function listenToTools({ showing, onError, onLook, onErased }) {
  const shown = () => showing.session;
  listenToGroup({ onLook, onErased, onError });
  pinButton.onclick = () => {
    const session = shown();
    if (!session) return;
    const { id } = session.main.job;
    if (isPinned(id)) unpin();
    else pin(id);
    drawTools(session);
  };
  // bare tools are better than none
  const styled = addStyle('style/tools.css').catch(() => undefined);
  byId('full-screen', HTMLButtonElement).onclick = () => {
    const session = shown();
    if (session) viewPicture(session).catch(onError);
  };
  listenToReplay(showing);
  listenToPictureButtons({ shown, onError });
  listenToClipButton({ shown, onError });
  listenToDrops();
  return styled;
}
