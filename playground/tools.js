/**
 * Tools for pictures, which nobody needs before there is one: loaded when the form is there.
 *
 * @import { Session } from './session.js'
 */
import { addressOf } from './address.js';
import { listenToClipButton } from './clip-button.js';
import { listenToDrops } from './drop.js';
import { byId, element } from './element.js';
import { onDemand } from './service.js';

/** The picture on the whole screen; where another one is looked at there, that one is shown. @param {Session} session */
async function viewPicture({ main: { job } }) {
  const { view } = await onDemand(import('./viewer.js'));
  const last = await view(job);
  if (last === job.id) return;
  location.hash = addressOf({ job: last, beside: null });
  // the button that was pressed is gone until the picture is there
  byId('results', HTMLElement).focus({ preventScroll: true });
}

/**
 * Puts the tools to the page.
 *
 * @param {{ shown: () => Session | null, onError: (error: unknown) => void }} page
 */
export function listenToTools({ shown, onError }) {
  document.head.append(element('link', { rel: 'stylesheet', href: 'style/tools.css' }));
  byId('full-screen', HTMLButtonElement).onclick = () => {
    const session = shown();
    if (session) viewPicture(session).catch(onError);
  };
  listenToClipButton({ shown, onError });
  listenToDrops();
}
