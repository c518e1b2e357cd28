/**
 * The button that plays a session again, and ends that.
 *
 * @import { Showing } from './showing.js'
 */
import { byId } from '../ground/element.js';
import { isBusy } from '../session/session.js';
import { playAgain } from '../show/play.js';

/** @param {Showing} showing */
async function replay(showing) {
  const { session, played } = showing;
  if (!session || isBusy(session)) return;
  if (played) return showing.stop();
  const { main, beside } = session;
  const { signal, draw } = showing.play();
  await playAgain(
    [main.events, ...(beside?.run.status === 'done' ? [beside.events] : [])],
    (runs, slowness) => draw({ runs, slowness }),
    signal,
  );
  draw(null);
}

/** @param {Showing} showing */
export function listenToReplay(showing) {
  byId('play', HTMLButtonElement).onclick = () => replay(showing);
}
