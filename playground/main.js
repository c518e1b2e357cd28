/**
 * The page: a request becomes a job, the job's events become a run, the run is drawn. What is shown stands in the
 * address, so that a reload, the back button and a link in the history lead to the same place.
 *
 * @import { LinkedJob } from '../src/job/links.ts'
 * @import { Run } from './session/run.js'
 * @import { Part, Session } from './session/session.js'
 */

import { drawCode } from './ask/code.js';
import { announce, awaitStart, drawDock, listenToDock, showAlert } from './ask/dock.js';
import {
  fillForm,
  focusPrompt,
  listenToForm,
  offerModels,
  readDraft,
  readForm,
  readWork,
  writeSeed,
} from './ask/form.js';
import { askBalance, askPrice, explainUnpaid, forgetMoney } from './ask/money.js';
import { shortened } from './ask/snippets.js';
import { byId } from './ground/element.js';
import { fileName } from './keep/file-name.js';
import { drawHistory, listenToHistory, markInHistory } from './keep/history.js';
import { copyPicture, savePicture } from './keep/save.js';
import { addressOf, addressWithout, parseAddress } from './session/address.js';
import { playAgain } from './session/play.js';
import { hasEnded } from './session/run.js';
import {
  begin,
  besideBegins,
  besideEnds,
  comparisonOf,
  connected,
  failureOf,
  isBusy,
  isFruitless,
  sentenceOf,
  statusOf,
  told,
} from './session/session.js';
import { drawResults, listenToResults } from './visit/results.js';
import { acceptOfferedKey, forgetKey, keepKey, storedKey, takeKeyFromAddress } from './wire/key.js';
import { cancelJob, createJob, getJob, listModels, onDemand, Refusal } from './wire/service.js';
import { onChangeElsewhere, tellTabs } from './wire/tabs.js';
import { watchJob } from './wire/watch.js';

/** @type {Session | null} */
let session = null;
/** ends when another job is shown */
let shown = new AbortController();
/**
 * drawn in place of the session's own runs while they are played again @type {{ runs: readonly Run[], slowness: number
 * } | null}
 */
let played = null;
let playing = new AbortController();
/** whether the job to be shown next was asked for just now, and not found in the address */
let isAsked = false;
/** the reason why nothing can be asked for yet is looked at again after this @type {number | undefined} */
let retryTimer;
/** why not all of several jobs were started @type {unknown} */
let trouble = null;
const RETRY_MS = 5000;
/** what works with pictures that are there, from when it is first needed @type {typeof import('./visit/tools.js') | null} */
let tools = null;
let areToolsComing = false;
/** the window's, where no picture is shown */
const TITLE = document.title;

/** @type {Awaited<ReturnType<typeof listModels>>} */
let models = [];

const keyForm = byId('key-form', HTMLFormElement);
const keyInput = byId('key', HTMLInputElement);
const requestForm = byId('request', HTMLFormElement);
const ask = byId('ask', HTMLDivElement);
const forgetButton = byId('forget-key', HTMLButtonElement);

/** @param {unknown} error */
function showError(error) {
  const isUnpaid = error instanceof Refusal && error.status === 402;
  showAlert(isUnpaid ? explainUnpaid(error) : error instanceof Error ? error.message : String(error));
  if (isUnpaid) void askBalance();
  if (error instanceof Refusal && error.status === 401) askForKey();
}

function askForKey() {
  forgetKey();
  forgetMoney();
  keyForm.hidden = false;
  requestForm.hidden = true;
  ask.hidden = true;
  forgetButton.hidden = true;
  byId('key-why', HTMLParagraphElement).hidden = parseAddress(location.hash) === null;
  // where the form is below the pictures, the page stays with these
  keyInput.focus({ preventScroll: true });
  draw();
}

/** Whether something of what is shown still runs, here or beside it. */
const isAnyBusy = () => isBusy(session) || (tools?.isGroupBusy() ?? false);

function draw() {
  drawResults(session, played?.runs ?? null);
  tools?.drawTools(session);
  drawDock({
    status: session ? statusOf(session, played?.slowness ?? null) || groupStatus() : '',
    isBusy: isAnyBusy(),
    isFruitless: isFruitless(session) && !isAnyBusy(),
  });
}

/** How far those are that stand side by side; empty where all have ended. */
const groupStatus = () => (tools?.isGroupBusy() ? tools.groupSentence() : '');

let isDrawing = false;
/** Draws with the next frame, however many events come before it. */
function drawSoon() {
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    draw();
  });
}

/** The code of what is shown, or of what would be asked for. */
function drawCodeOfShown() {
  const job = session?.main.job;
  drawCode(
    job
      ? shortened(
          job.request,
          models.find(({ id }) => id === job.model),
        )
      : readDraft(),
  );
}

// from events to a session

/**
 * Follows one job of the session; resolves to its run when it has ended.
 *
 * @param {LinkedJob} job
 * @param {Part} part
 * @param {AbortSignal} signal
 * @returns {Promise<Run>}
 */
const follow = (job, part, signal) =>
  new Promise((resolve, reject) => {
    watchJob(job, {
      signal,
      onEvent(event) {
        if (!session) return;
        session = told(session, part, event);
        const run = session[part]?.run;
        const sentence = sentenceOf(session, part, event);
        if (sentence !== '') announce(sentence);
        drawSoon();
        if (run && hasEnded(run)) resolve(run);
      },
      onConnection(connection) {
        if (!session) return;
        session = connected(session, part, connection);
        drawSoon();
      },
      onError: reject,
    });
  });

/**
 * The plain run of the same request. Its key is the watched job's, so that a reload in between does not start a second
 * one. @param {LinkedJob} job
 */
function createPlain({ id, model, prompt, width, height, seed, output_format }) {
  return createJob({ model, prompt, width, height, seed, output_format, preset: 'plain' }, `plain-beside-${id}`);
}

/** The list of jobs has changed. */
function jobsChanged() {
  tellTabs();
  return drawHistory(parseAddress(location.hash)?.job ?? null);
}

/** Throws why there is no such job, as a person would say it. @param {unknown} error @returns {never} */
function explainMissing(error) {
  const isMissing = error instanceof Refusal && error.status === 404;
  throw isMissing
    ? new Error('There is no such picture: it was erased, its time is over, or the key is of another account.')
    : error;
}

/** A job was erased; where it is shown, it is so no longer. @param {string} id */
function leave(id) {
  tools?.unpin(id);
  const named = parseAddress(location.hash);
  const address = named ? addressWithout(named, id) : '';
  if (!named || address === addressOf(named)) return;
  history.replaceState(null, '', address || location.pathname + location.search);
  showAlert(null);
  void showAddress();
}

/** Shows what the address names, from its first event on. */
async function showAddress() {
  const named = parseAddress(location.hash);
  shown.abort();
  stopPlaying();
  session = null;
  markInHistory(named?.job ?? null);
  document.title = TITLE;
  drawCodeOfShown();
  if (named === null || storedKey() === null) return draw();
  const own = new AbortController();
  const { signal } = own;
  shown = own;
  try {
    const job = await getJob(named.job).catch(explainMissing);
    if (signal.aborted) return;
    session = begin(job, named.beside !== null);
    void loadTools();
    fillForm(job, named.beside !== null);
    askPrice(readWork());
    document.title = `${job.prompt} – RALU`;
    drawCodeOfShown();
    draw();
    // on a phone the form is above the pictures
    if (isAsked && matchMedia('(max-width: 900px)').matches) byId('results', HTMLElement).scrollIntoView();
    isAsked = false;

    const run = await follow(job, 'main', signal);
    void askBalance({ isSettling: true });
    if (signal.aborted) return;
    showAlert(failureOf(run));
    if (named.beside !== null && isBusy(session) && run.status === 'done') await compare(job, named.beside, signal);
    if (signal.aborted || !session) return;
    session = besideEnds(session);
    draw();
    await jobsChanged();
  } catch (error) {
    if (signal.aborted) return;
    if (session) session = besideEnds(session);
    showError(error);
    draw();
  }
}

/**
 * The plain model's run, after the job's own: the two would wait for each other in the stage server, and their times
 * would mean nothing. @param {LinkedJob} main @param {string} named @param {AbortSignal} signal
 */
async function compare(main, named, signal) {
  const job = await (named === 'plain' ? createPlain(main) : getJob(named));
  if (signal.aborted || !session) return;
  session = besideBegins(session, job);
  // cancelled while it was being started
  if (!isBusy(session)) await cancelJob(job.id);
  history.replaceState(null, '', addressOf({ ...parseAddress(location.hash), job: main.id, beside: job.id }));
  const plain = await follow(job, 'beside', signal);
  void askBalance({ isSettling: true });
  if (signal.aborted || !session) return;
  const failure = failureOf(plain);
  if (failure !== null) showAlert(`The plain model: ${failure}`);
  const comparison = comparisonOf(session);
  if (comparison !== null) announce(comparison);
}

// from the person to the service

/**
 * Starts jobs, one by one, and shows the first, with the others and the one that is kept beside it.
 *
 * @param {readonly Record<string, unknown>[]} bodies
 * @param {boolean} isCompared
 */
async function start(bodies, isCompared) {
  showAlert(null);
  awaitStart();
  /** @type {string[]} */
  const started = [];
  try {
    for (const body of bodies) started.push((await createJob(body)).id);
  } catch (error) {
    trouble = error;
  }
  const [job] = started;
  if (job === undefined) {
    showTrouble();
    return draw();
  }
  void askBalance();
  isAsked = true;
  const kept = tools?.pinnedJob() ?? null;
  const group = [...(kept === null ? [] : [kept]), ...started];
  // the address is what is shown; it tells the rest of the page
  location.hash = addressOf({ job, beside: isCompared ? 'plain' : null, group });
}

/** Says why not all that was asked for was started. */
function showTrouble() {
  if (trouble === null) return showAlert(null);
  showError(trouble);
  trouble = null;
}

async function generate() {
  if (isAnyBusy()) return;
  const read = readForm();
  if ('sentence' in read) return showAlert(read.sentence);
  await start(read.bodies, read.isCompared);
}

/** The request of the job shown once more, as it was sent; of several, those that came to no picture. */
async function tryAgain() {
  if (!session || !isFruitless(session) || isAnyBusy()) return;
  const beside = tools?.fruitlessJobs() ?? [];
  const jobs = beside.length > 0 ? beside : [session.main.job];
  await start(
    jobs.map(({ request }) => ({ ...request })),
    parseAddress(location.hash)?.beside != null,
  );
}

async function cancel() {
  if (!session || !isAnyBusy()) return;
  const running = [session.main, session.beside].filter((watched) => watched !== null && !hasEnded(watched.run));
  session = besideEnds(session);
  if (running.length === 0)
    history.replaceState(
      null,
      '',
      addressOf({ ...parseAddress(location.hash), job: session.main.job.id, beside: null }),
    );
  try {
    for (const watched of running) if (watched) await cancelJob(watched.job.id);
    await tools?.cancelGroup();
    showAlert(null);
  } catch (error) {
    showError(error);
  }
  drawSoon();
}

function stopPlaying() {
  playing.abort();
  played = null;
}

async function play() {
  if (!session || isBusy(session)) return;
  if (played) {
    stopPlaying();
    return draw();
  }
  const { main, beside } = session;
  const own = new AbortController();
  playing = own;
  await playAgain(
    [main.events, ...(beside?.run.status === 'done' ? [beside.events] : [])],
    (runs, slowness) => {
      played = { runs, slowness };
      drawSoon();
    },
    own.signal,
  );
  if (own.signal.aborted) return;
  played = null;
  draw();
}

/** Does something with the picture shown, and says how that went. @param {(job: LinkedJob) => Promise<void>} act */
async function withPicture(act) {
  if (!session) return;
  showAlert(null);
  try {
    await act(session.main.job);
  } catch (error) {
    showError(error);
  }
}

/** Loads everything that works with pictures that are there, once. */
async function loadTools() {
  if (areToolsComing) return;
  areToolsComing = true;
  try {
    const loaded = await onDemand(import('./visit/tools.js'));
    await loaded.listenToTools({
      shown: () => session,
      onError: showError,
      onGroup({ isOver, hasJustEnded }) {
        drawSoon();
        if (hasJustEnded) announce(loaded.groupSentence());
        if (!isOver) return;
        void askBalance({ isSettling: true });
        jobsChanged().catch(showError);
      },
    });
    tools = loaded;
    draw();
  } catch {
    areToolsComing = false;
  }
}

/** Everything that needs a key, from the start; where no stage server is in reach, again and again. */
async function open() {
  clearTimeout(retryTimer);
  if (storedKey() === null) return askForKey();
  const wasAsked = !keyForm.hidden;
  keyForm.hidden = true;
  try {
    models = await listModels();
    offerModels(models);
  } catch (error) {
    showError(error);
    draw();
    // a service that is away or has no stage server may come back
    if (error instanceof Refusal && (error.status === 0 || error.status >= 500))
      retryTimer = setTimeout(open, error.retryMs ?? RETRY_MS);
    return;
  }
  showAlert(null);
  requestForm.hidden = false;
  ask.hidden = false;
  forgetButton.hidden = false;
  byId('code-card', HTMLElement).hidden = false;
  if (wasAsked) focusPrompt();
  askPrice(readWork());
  void askBalance();
  await Promise.all([showAddress(), drawHistory(parseAddress(location.hash)?.job ?? null).catch(showError)]);
}

keyForm.addEventListener('submit', (event) => {
  event.preventDefault();
  if (keyInput.value.trim() === '') return showAlert('Paste a key of an account first.');
  keepKey(keyInput.value.trim());
  keyInput.value = '';
  void open();
});
forgetButton.onclick = () => {
  shown.abort();
  session = null;
  showAlert(null);
  draw();
  for (const id of ['code-card', 'history-card']) byId(id, HTMLElement).hidden = true;
  askForKey();
};
listenToForm({
  onSubmit: generate,
  onChange() {
    if (!session) drawCodeOfShown();
    askPrice(readWork());
  },
  onMended: () => showAlert(null),
});
listenToHistory({ onErased: leave, onError: showError });
listenToDock({ onCancel: cancel, onAgain: tryAgain });
listenToResults({
  onRedraw: () => session && drawSoon(),
  onTry: () => (keyForm.hidden ? focusPrompt() : keyInput.focus()),
  onError: showError,
});
onChangeElsewhere(() => {
  if (storedKey() !== null && !requestForm.hidden)
    void drawHistory(parseAddress(location.hash)?.job ?? null).catch(() => undefined);
});
byId('play', HTMLButtonElement).onclick = play;
byId('download', HTMLButtonElement).onclick = () =>
  withPicture(({ id, prompt, seed, output_format: format }) => savePicture(id, fileName({ prompt, seed, format })));
byId('copy-picture', HTMLButtonElement).onclick = () =>
  withPicture(async ({ id }) => {
    await copyPicture(id);
    announce('The picture is on the clipboard.');
  });
byId('share', HTMLButtonElement).onclick = () =>
  withPicture(async ({ id }) => (await onDemand(import('./keep/share.js'))).openShare(id));
// not by its address: that says which job is shown
byId('skip', HTMLAnchorElement).onclick = (event) => {
  event.preventDefault();
  byId('results', HTMLElement).focus();
};
byId('keep-seed', HTMLButtonElement).onclick = () => session && writeSeed(session.main.job.seed);
addEventListener('hashchange', () => {
  const before = storedKey();
  takeKeyFromAddress();
  acceptOfferedKey();
  if (storedKey() !== before) return open();
  showTrouble();
  return showAddress();
});
// somebody is here
for (const type of ['pointermove', 'pointerdown', 'keydown', 'dragenter'])
  addEventListener(type, loadTools, { once: true, passive: true });

acceptOfferedKey();
void open();
