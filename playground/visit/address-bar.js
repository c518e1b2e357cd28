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
import { getJob, onDemand, Refusal } from '../wire/service.js';
import { isOpen } from './key-form.js';
import { showError } from './trouble.js';

/** the window's, where no picture is shown */
const TITLE = document.title;
const AGAIN_MS = 2000;

/** Throws why there is no such job, as a person would say it. @param {unknown} error @returns {never} */
function explainMissing(error) {
  const isMissing = error instanceof Refusal && error.status === 404;
  throw isMissing
    ? new Error('There is no such picture: it was erased, its time is over, or the key is of another account.')
    : error;
}

/**
 * What follows a job, as soon as the service gives it out: the job runs meanwhile. @param {AbortSignal} signal nobody
 * waits any more
 */
async function fetchFollow(signal) {
  for (let isFirst = true; ; isFirst = false) {
    try {
      const follow = await onDemand(import('./follow.js'));
      if (!isFirst && !signal.aborted) showAlert(null);
      return follow;
    } catch (error) {
      if (signal.aborted) throw error;
      showError(error);
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

/** Leaves what is shown for nothing: its account is left. @param {Visit} visit */
export function showNothing({ showing }) {
  showing.leave();
  document.title = TITLE;
  showing.show(null);
}

/** Shows what the address names, from its first event on. @param {Visit} visit */
export async function showAddress({ showing }) {
  const named = parseAddress(location.hash);
  const signal = showing.leave();
  markInHistory();
  document.title = TITLE;
  if (isOpen()) drawCodeOf(null);
  if (named === null || !isOpen()) return showing.show(null);
  const isCompared = named.beside !== null;
  try {
    const job = await getJob(named.job).catch(explainMissing);
    if (signal.aborted) return;
    showing.show(begin(job, isCompared));
    fillForm(job, isCompared);
    askPrice(readWork());
    document.title = `${job.prompt} – RALU`;
    drawCodeOf(job);
    const { followSession } = await fetchFollow(signal);
    if (signal.aborted) return;
    await followSession(showing, { job, beside: named.beside, signal });
  } catch (error) {
    if (signal.aborted) return;
    showing.change(besideEnds);
    showError(error);
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
  void showAddress(visit);
}
