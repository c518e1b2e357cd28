/**
 * The page: a request becomes a job, the job's events become a run, the run is drawn. What is shown stands in the
 * address, so that a reload, the back button and a link in the history lead to the same place.
 *
 * @import { SeenEvent } from '../src/job/events.ts'
 * @import { LinkedJob } from '../src/job/links.ts'
 * @import { Run } from './run.js'
 */
import { addressOf, parseAddress } from './address.js';
import { describeChart, drawChart } from './chart.js';
import { byId } from './element.js';
import { describePlan, drawFacts, drawNumbers } from './facts.js';
import { counted, dollars, duration, times, work } from './figures.js';
import { fillForm, listenToForm, offerModels, readForm, readRequest, readWork, writeSeed } from './form.js';
import { makeHero } from './hero.js';
import { drawHistory, listenToHistory, markInHistory } from './history.js';
import { acceptOfferedKey, forgetKey, keepKey, storedKey, takeKeyFromAddress } from './key.js';
import { askBalance, askPrice, explainUnpaid, forgetMoney } from './money.js';
import { playAgain } from './play.js';
import { advance, denoised, hasEnded, numStepsDone, UNKNOWN } from './run.js';
import { cancelJob, createJob, getJob, listModels, Refusal } from './service.js';
import { asCurl, asJavaScript, asPython } from './snippets.js';
import { makeStages } from './stages.js';
import { watchJob } from './watch.js';

/**
 * A job that is watched, with every event it has told so far. @typedef {{ job: LinkedJob, events: SeenEvent[], run:
 * Run }} Watched
 */
/** @typedef {{ main: Watched, beside: Watched | null, isBesideAwaited: boolean, stop: AbortController }} Session */

/** @type {Session | null} */
let session = null;
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
const RETRY_MS = 5000;
const LOST_MS = 4000;
const LOST = 'The connection to the service was lost; trying again.';

const keyForm = byId('key-form', HTMLFormElement);
const keyInput = byId('key', HTMLInputElement);
const requestForm = byId('request', HTMLFormElement);
const forgetButton = byId('forget-key', HTMLButtonElement);
const generateButton = byId('generate', HTMLButtonElement);
const cancelButton = byId('cancel', HTMLButtonElement);
const playButton = byId('play', HTMLButtonElement);
const alertLine = byId('alert', HTMLParagraphElement);
const statusLine = byId('status', HTMLParagraphElement);
const announcement = byId('announcement', HTMLParagraphElement);
const tokensShown = byId('show-tokens', HTMLInputElement);
const plot = byId('plot', HTMLDivElement);
const language = byId('language', HTMLSelectElement);
const code = byId('code', HTMLPreElement);
const download = byId('download', HTMLAnchorElement);
const drawStages = makeStages(byId('stages', HTMLDivElement));
const drawHero = makeHero(byId('hero', HTMLDivElement));

/** Says something to those who listen to the page; the pictures say it to those who look. @param {string} sentence */
const announce = (sentence) => {
  announcement.textContent = sentence;
};

/** @param {string | null} sentence */
function showAlert(sentence) {
  alertLine.hidden = sentence === null;
  alertLine.textContent = sentence;
}

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
  forgetButton.hidden = true;
  keyInput.focus();
}

// from a session to the page

/** @param {Watched} watched */
const nameOf = ({ job }) => job.preset ?? 'custom';

/** @param {Session} shown @param {Run} run */
function statusOf(shown, run) {
  if (played)
    return played.slowness > 1
      ? `Playing ${times(played.slowness)} slower than it was.`
      : `Playing ${times(1 / played.slowness)} faster than it was.`;
  if (run.status === 'done' && shown.isBesideAwaited) return 'The plain model runs, for comparison.';
  if (hasEnded(run)) return '';
  if (run.waiting) return run.waiting;
  const current = run.stages.findLast(({ beganAt }) => beganAt !== null);
  if (!current) return 'Waiting for the first stage.';
  return `Stage ${current.stage} of ${run.stages.length}, step ${Math.min(numStepsDone(current) + 1, current.steps)} of ${current.steps}.`;
}

/** Whether something of the session still runs. @param {Session | null} shown */
const isBusy = (shown) => shown !== null && (!hasEnded(shown.main.run) || shown.isBesideAwaited);

function drawCode() {
  const request = readRequest(session?.main.job.seed ?? null);
  const writers = { curl: asCurl, javascript: asJavaScript, python: asPython };
  code.textContent = writers[/** @type {keyof typeof writers} */ (language.value)](
    new URL('.', location.href).href.slice(0, -1),
    request,
  );
}

function draw() {
  for (const [id, isShown] of /** @type {const} */ ([
    ['welcome', session === null],
    ['method', session !== null],
    ['picture-card', session !== null],
    ['chart-card', session !== null],
    ['numbers-card', session !== null && session.main.run.receipt !== null],
  ]))
    byId(id, HTMLElement).hidden = !isShown;
  const busy = isBusy(session);
  cancelButton.setAttribute('aria-disabled', String(!busy));
  generateButton.setAttribute('aria-disabled', String(busy));
  statusLine.hidden = true;
  if (!session) return;

  const { main, beside, isBesideAwaited } = session;
  const run = played?.runs[0] ?? main.run;
  const besideRun = beside ? (played?.runs[1] ?? beside.run) : null;
  const name = nameOf(main);
  const runs = [{ name, run }, ...(besideRun ? [{ name: 'plain', run: besideRun }] : [])];
  const { prompt, seed, links } = main.job;

  const status = statusOf(session, run);
  statusLine.hidden = status === '';
  statusLine.textContent = status;

  drawStages(run, { prompt, image: links.image, isGridShown: tokensShown.checked });

  const newest = run.stages.findLast(({ picture }) => picture !== null);
  const picture = run.image
    ? { source: links.image, words: `Picture of “${prompt}”`, isCoarse: false, name: `${name}: ${receiptTime(run)}` }
    : newest?.picture
      ? { source: newest.picture, words: `“${prompt}” after stage ${newest.stage}`, isCoarse: newest.stage === 1, name }
      : null;
  const plainPicture =
    beside && besideRun?.image && run.image
      ? {
          source: beside.job.links.image,
          words: `The plain model’s picture of “${prompt}”`,
          isCoarse: false,
          name: `plain: ${receiptTime(besideRun)}`,
        }
      : null;
  drawHero({ picture, beside: plainPicture, size: run.size });
  download.hidden = run.image === null;
  if (run.image) {
    download.href = links.image;
    download.download = `${main.job.id}.${run.image.format}`;
  }

  drawFacts(byId('facts', HTMLDivElement), {
    name,
    run,
    beside: besideRun,
    isBesideAwaited:
      isBesideAwaited || (played !== null && besideRun !== null && run.status === 'done' && !hasEnded(besideRun)),
  });
  byId('seed-shown', HTMLSpanElement).textContent = String(seed);
  byId('engine', HTMLSpanElement).textContent = run.receipt ? ` · ${run.receipt.engine}` : '';

  drawChart(plot, runs);
  byId('plot-words', HTMLParagraphElement).textContent = describeChart(runs);
  byId('plan-words', HTMLElement).textContent = describePlan(run);

  drawNumbers(byId('numbers', HTMLElement), [
    { name, run: main.run },
    ...(beside ? [{ name: 'plain', run: beside.run }] : []),
  ]);
  playButton.hidden = main.run.status !== 'done' || busy;
  playButton.textContent = played ? 'Stop' : 'Play again';
}

/** @param {Run} run */
const receiptTime = (run) => (run.receipt ? duration(run.receipt.wall_ms.total) : '');

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

// from events to a session

/** What a listener wants to know of an event; steps are too many. @param {SeenEvent} event @param {Run} run */
function sentenceOf(event, run) {
  switch (event.type) {
    case 'stage': {
      const { stage, stages, tokens, steps, attempt } = event.data;
      return attempt > 1
        ? `Stage ${stage}, attempt ${attempt}.`
        : `Stage ${stage} of ${stages}: ${counted(tokens, 'token')}, ${counted(steps, 'step')}.`;
    }
    case 'selection':
      return `${counted(event.data.indices.length, 'block')} with edges go to full resolution early.`;
    case 'retry':
      return run.stages[event.data.stage - 1]?.trouble ?? '';
    case 'done': {
      const { receipt } = event.data;
      const { denoise, ratio } = receipt.tflops;
      const saving = ratio !== null && ratio > 1 ? `, ${times(ratio)} less than the plain model` : '';
      const paid = run.cost?.usd ? ` It cost ${dollars(run.cost.usd)}.` : '';
      return `The picture is there, after ${duration(receipt.wall_ms.total)}: ${work(denoise)} of denoising${saving}.${paid}`;
    }
    case 'cancelled':
      return `Cancelled.${run.cost?.usd ? ` It cost ${dollars(run.cost.usd)}.` : ''}`;
    default:
      return '';
  }
}

/**
 * Follows one job of the session; resolves to its run when it has ended.
 *
 * @param {Watched} watched
 * @param {AbortSignal} signal
 * @returns {Promise<Run>}
 */
function follow(watched, signal) {
  /** @type {number | undefined} */
  let lostTimer;
  return new Promise((resolve, reject) => {
    watchJob(watched.job, {
      signal,
      onEvent(event) {
        watched.events.push(event);
        watched.run = advance(watched.run, event);
        const sentence = sentenceOf(event, watched.run);
        if (sentence !== '') announce(sentence);
        drawSoon();
        if (hasEnded(watched.run)) {
          clearTimeout(lostTimer);
          resolve(watched.run);
        }
      },
      onLost(isLost) {
        clearTimeout(lostTimer);
        // a stream that is back in a moment is not worth a word
        if (isLost) lostTimer = setTimeout(() => !signal.aborted && showAlert(LOST), LOST_MS);
        else if (alertLine.textContent === LOST) showAlert(null);
      },
      onError: reject,
    });
  });
}

/** @param {LinkedJob} job @returns {Watched} */
const unseen = (job) => ({ job, events: [], run: UNKNOWN });

/**
 * The plain run of the same request. Its key is the watched job's, so that a reload in between does not start a second
 * one. @param {LinkedJob} job
 */
function createPlain({ id, model, prompt, width, height, seed, output_format }) {
  return createJob({ model, prompt, width, height, seed, output_format, preset: 'plain' }, `plain-beside-${id}`);
}

/** Shows what the address names, from its first event on. */
async function showAddress() {
  const shown = parseAddress(location.hash);
  session?.stop.abort();
  stopPlaying();
  session = null;
  markInHistory(shown?.job ?? null);
  document.title = 'RALU playground';
  if (shown === null || storedKey() === null) return draw();
  const stop = new AbortController();
  try {
    const main = unseen(await getJob(shown.job));
    if (parseAddress(location.hash)?.job !== shown.job) return;
    session = { main, beside: null, isBesideAwaited: shown.beside !== null, stop };
    const own = session;
    fillForm(main.job, shown.beside !== null);
    askPrice(readWork());
    document.title = `${main.job.prompt} – RALU playground`;
    drawCode();
    draw();
    // where the form is above the pictures, both the buttons and the pictures should be in sight
    if (isAsked && matchMedia('(max-width: 900px)').matches) generateButton.scrollIntoView();
    isAsked = false;
    const isOwn = () => session === own;

    const run = await follow(main, stop.signal);
    void askBalance({ isSettling: true });
    if (!isOwn()) return;
    if (run.failure)
      showAlert(
        `${run.failure.message} ${run.failure.attempts > 1 ? `It was tried ${run.failure.attempts} times.` : ''}`.trim(),
      );
    if (shown.beside !== null && own.isBesideAwaited && run.status === 'done') {
      // one after the other: the two would wait for each other in the stage server, and their times would mean nothing
      const job = await (shown.beside === 'plain' ? createPlain(main.job) : getJob(shown.beside));
      if (!isOwn()) return;
      own.beside = unseen(job);
      // cancelled while it was being started
      if (!own.isBesideAwaited) await cancelJob(job.id);
      history.replaceState(null, '', addressOf({ job: main.job.id, beside: job.id }));
      const plain = await follow(own.beside, stop.signal);
      void askBalance({ isSettling: true });
      if (!isOwn()) return;
      if (plain.failure) showAlert(`The plain model: ${plain.failure.message}`);
      if (plain.receipt && run.receipt)
        announce(`The plain model took ${times(denoised(plain.receipt) / denoised(run.receipt))} as long to denoise.`);
    }
    own.isBesideAwaited = false;
    draw();
    await drawHistory(shown.job);
  } catch (error) {
    if (stop.signal.aborted) return;
    if (session) session.isBesideAwaited = false;
    showError(error);
    draw();
  }
}

// from the person to the service

async function generate() {
  if (isBusy(session)) return;
  showAlert(null);
  const read = readForm();
  if ('sentence' in read) return showAlert(read.sentence);
  generateButton.setAttribute('aria-disabled', 'true');
  try {
    const { id } = await createJob(read.body);
    void askBalance();
    isAsked = true;
    // the address is what is shown; it tells the rest of the page
    location.hash = addressOf({ job: id, beside: read.isCompared ? 'plain' : null });
  } catch (error) {
    showError(error);
    alertLine.scrollIntoView({ block: 'nearest' });
    draw();
  }
}

async function cancel() {
  const stopped = session;
  if (!stopped || !isBusy(stopped)) return;
  const running = [stopped.main, stopped.beside].filter((watched) => watched !== null && !hasEnded(watched.run));
  stopped.isBesideAwaited = false;
  if (running.length === 0) history.replaceState(null, '', addressOf({ job: stopped.main.job.id, beside: null }));
  try {
    for (const watched of running) if (watched) await cancelJob(watched.job.id);
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
  if (!session) return;
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

async function copyCode() {
  try {
    await navigator.clipboard.writeText(code.textContent ?? '');
    announce('Copied.');
    statusOfCopy('Copied');
  } catch {
    // without the permission the text can still be marked and copied by hand
    getSelection()?.selectAllChildren(code);
    announce('Marked; copy it with the keyboard.');
    statusOfCopy('Marked');
  }
}

const copyButton = byId('copy', HTMLButtonElement);
/** @param {string} word */
function statusOfCopy(word) {
  copyButton.textContent = word;
  setTimeout(() => {
    copyButton.textContent = 'Copy';
  }, 1500);
}

/** Everything that needs a key, from the start; where no stage server is in reach, again and again. */
async function open() {
  clearTimeout(retryTimer);
  if (storedKey() === null) return askForKey();
  keyForm.hidden = true;
  try {
    offerModels(await listModels());
  } catch (error) {
    showError(error);
    // a service that is away or has no stage server may come back
    if (error instanceof Refusal && (error.status === 0 || error.status >= 500))
      retryTimer = setTimeout(open, error.retryMs ?? RETRY_MS);
    return;
  }
  showAlert(null);
  requestForm.hidden = false;
  forgetButton.hidden = false;
  byId('code-card', HTMLElement).hidden = false;
  drawCode();
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
  session?.stop.abort();
  session = null;
  draw();
  for (const id of ['code-card', 'history-card']) byId(id, HTMLElement).hidden = true;
  askForKey();
};
listenToForm({
  onSubmit: generate,
  onChange() {
    drawCode();
    askPrice(readWork());
  },
});
listenToHistory(showError);
cancelButton.onclick = cancel;
playButton.onclick = play;
copyButton.onclick = copyCode;
// not by its address: that says which job is shown
byId('skip', HTMLAnchorElement).onclick = (event) => {
  event.preventDefault();
  byId('results', HTMLElement).focus();
};
language.onchange = drawCode;
tokensShown.onchange = draw;
byId('keep-seed', HTMLButtonElement).onclick = () => session && writeSeed(session.main.job.seed);
addEventListener('hashchange', () => {
  const before = storedKey();
  takeKeyFromAddress();
  acceptOfferedKey();
  if (storedKey() !== before) return open();
  showAlert(null);
  return showAddress();
});
new ResizeObserver(drawSoon).observe(plot);

acceptOfferedKey();
void open();
