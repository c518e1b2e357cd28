/**
 * The address is what is shown: a reload, the back button and a link in the history lead to the same place.
 *
 * @import { Visit } from './toolbox.js'
 */
import { drawCodeOf } from '../ask/code.js';
import { showAlert } from '../ask/dock.js';
import { fillForm, readWork } from '../ask/form.js';
import { askPrice } from '../ask/money.js';
import { isPinned, unpin } from '../beside/pin.js';
import { markInHistory } from '../keep/history.js';
import { addressOf, addressWithout, parseAddress } from '../session/address.js';
import { begin, besideEnds } from '../session/session.js';
import { onDemand } from '../wire/on-demand.js';
import { getJob, persist, Refusal } from '../wire/service.js';
import { isOpen } from './key-form.js';
import { showError, showPassing } from './trouble.js';

/** the window's, where no picture is shown */
const TITLE = document.title;

/** Whether a job is not there. @param {unknown} error */
const isMissing = (error) => error instanceof Refusal && error.status === 404;

/** Whether one of these jobs is there. @param {readonly string[]} ids */
const isAnyThere = async (ids) =>
  (await Promise.allSettled(ids.map((id) => getJob(id)))).some(({ status }) => status === 'fulfilled');

/** Leaves what is shown for nothing: its account is left. @param {Visit} visit */
export function showNothing({ showing }) {
  showing.leave();
  document.title = TITLE;
  showing.show(null);
}

/** Shows what the address names, from its first event on. @param {Visit} visit */
export async function showAddress(visit) {
  const { showing } = visit;
  const named = parseAddress(location.hash);
  const signal = showing.leave();
  markInHistory();
  document.title = TITLE;
  if (isOpen()) drawCodeOf(null);
  if (named === null || !isOpen()) return showing.show(null);
  const isCompared = named.beside !== null;
  let hasTrouble = false;
  const until = {
    signal,
    /** @param {Refusal} error */
    onTrouble(error) {
      hasTrouble = true;
      showPassing(error);
    },
  };
  const mended = () => hasTrouble && showAlert(null);
  try {
    const job = await persist(() => getJob(named.job, signal), until);
    if (signal.aborted) return;
    mended();
    showing.show(begin(job, isCompared));
    fillForm(job, isCompared);
    askPrice(readWork());
    document.title = `${job.prompt} – RALU`;
    drawCodeOf(job);
    const { followSession } = await persist(() => onDemand(() => import('./follow.js')), until);
    if (signal.aborted) return;
    mended();
    await followSession(showing, { job, beside: named.beside, signal });
  } catch (error) {
    if (signal.aborted) return;
    if (showing.isAwaited && isMissing(error)) {
      // one of those beside it takes its place
      const isReplaced = await isAnyThere(named.group);
      if (signal.aborted) return;
      if (isReplaced) return leaveErasedElsewhere(visit, named.job);
      showAlert('There is no such picture: it was erased, its time is over, or the key is of another account.');
    } else showError(error);
    showing.change(besideEnds);
    if (showing.isAwaited) showing.show(null);
  }
}

/** A job was erased; where it is shown, it is so no longer. @param {Visit} visit @param {string} id */
export function leaveErased(visit, id) {
  if (isPinned(id)) unpin();
  const named = parseAddress(location.hash);
  const address = named ? addressWithout(named, id) : '';
  if (!named || address === addressOf(named)) return;
  history.replaceState(null, '', address || location.pathname + location.search);
  showAlert(null);
  const left = parseAddress(address);
  // what stands large stays
  if (left?.job === named.job && left.beside === named.beside) visit.showing.redraw();
  else void showAddress(visit);
}

/** A job was erased by somebody else, or its time is over. @param {Visit} visit @param {string} id */
export function leaveErasedElsewhere(visit, id) {
  leaveErased(visit, id);
  showAlert('One of the pictures side by side is gone: it was erased, or its time is over.');
}
