/**
 * The page: a request becomes a job, the job's events become a run, the run is drawn. What is shown stands in the
 * address, so that a reload, the back button and a link in the history lead to the same place.
 *
 * @import { Visit } from './visit/toolbox.js'
 */
import { drawCodeOf, fetchCode } from './ask/code.js';
import { drawDock, listenToDock, showAlert } from './ask/dock.js';
import { focusPrompt, keepForm, listenToForm, readWork, writeSeed } from './ask/form.js';
import { askPrice } from './ask/money.js';
import { byId } from './ground/element.js';
import { drawHistory, listenToHistory } from './keep/history.js';
import { isFruitless, statusOf } from './session/session.js';
import { leaveErased, leaveErasedElsewhere, showAddress, showNothing } from './visit/address-bar.js';
import { enter } from './visit/entrance.js';
import { focusKey, isKeyAsked, isOpen, listenToKeyForm } from './visit/key-form.js';
import { cancel, generate, isAnyBusy, tryAgain } from './visit/requests.js';
import { drawResults, listenToResults } from './visit/results.js';
import { makeShowing } from './visit/showing.js';
import { makeToolbox } from './visit/toolbox.js';
import { showError } from './visit/trouble.js';
import { acceptOfferedKey, storedKey, takeKeyFromAddress } from './wire/key.js';
import { keepWith } from './wire/on-demand.js';
import { onChangeElsewhere } from './wire/tabs.js';

const showing = makeShowing(drawSoon);
const toolbox = makeToolbox(showing, (id) => leaveErasedElsewhere(visit, id));
/** @type {Visit} */
const visit = { showing, toolbox };

// what is shown is drawn

let isDrawing = false;
/** Draws with the next frame, however many events come before it. */
function drawSoon() {
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    if (!showing.isAwaited) draw();
  });
}

function draw() {
  const { session, played } = showing;
  drawResults(session, played?.runs ?? null);
  toolbox.draw(session);
  // those side by side are known now
  const isBusy = isAnyBusy(visit);
  drawDock({
    status: session && !isKeyAsked() ? statusOf(session, played?.slowness ?? null) || toolbox.groupStatus() : '',
    isBusy,
    isFruitless: isFruitless(session) && !isBusy,
  });
}

// the way in, and to what the address names

const comeIn = () =>
  enter({
    onOpen() {
      void showAddress(visit);
      drawHistory().catch(showError);
    },
    onClosed: () => showing.show(null),
  });

listenToKeyForm({
  onKey: comeIn,
  onForget: () => showNothing(visit),
});
addEventListener('hashchange', () => {
  const before = storedKey();
  takeKeyFromAddress();
  acceptOfferedKey();
  if (storedKey() !== before) return comeIn();
  showAlert(null);
  return showAddress(visit);
});

// what is asked for

listenToForm({
  onSubmit: () => generate(visit),
  onChange() {
    if (!showing.session) drawCodeOf(null);
    askPrice(readWork());
  },
  onMended: () => showAlert(null),
});
listenToDock({ onCancel: () => cancel(visit), onAgain: () => tryAgain(visit) });

// what is done with pictures that are there

listenToResults({
  onRedraw: () => showing.session && drawSoon(),
  onTry: () => (isKeyAsked() ? focusKey() : focusPrompt()),
  onError: showError,
});
listenToHistory({ onErased: (id) => leaveErased(visit, id), onError: showError });
onChangeElsewhere(() => {
  if (!isOpen()) return;
  drawHistory().catch(() => undefined);
  toolbox.lookAgain();
});
byId('keep-seed', HTMLButtonElement).onclick = () => showing.session && writeSeed(showing.session.main.job.seed);
// not by its address: that says which job is shown
byId('skip', HTMLAnchorElement).onclick = (event) => {
  event.preventDefault();
  byId('results', HTMLElement).focus();
};
// somebody is here
for (const type of ['pointermove', 'pointerdown', 'keydown', 'dragenter', 'scroll'])
  addEventListener(
    type,
    () => {
      void toolbox.load();
      void fetchCode();
    },
    { once: true, passive: true },
  );

keepWith(keepForm);
acceptOfferedKey();
void comeIn();
