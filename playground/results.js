/**
 * The pictures and what is told of them: a session, or what is played of it, drawn into the page.
 *
 * @import { Run } from './run.js'
 * @import { Session, Watched } from './session.js'
 */

import { describeChart, drawChart } from './chart.js';
import { byId } from './element.js';
import { describePlan, drawFacts, drawNumbers } from './facts.js';
import { duration } from './figures.js';
import { makeHero } from './hero.js';
import { hasEnded, numStepsDone } from './run.js';
import { isBusy, nameOf } from './session.js';

const tokensShown = byId('show-tokens', HTMLInputElement);
const playButton = byId('play', HTMLButtonElement);
const plot = byId('plot', HTMLDivElement);
/** @type {() => void} */
let redraw = () => undefined;
const hero = makeHero({
  host: byId('hero', HTMLDivElement),
  words: byId('moment', HTMLDivElement),
  strip: byId('stages', HTMLOListElement),
  redraw: () => redraw(),
});
/** what was drawn last: another job, or a second look, begins with what happens now */
let drawn = { job: '', isPlayed: false };

const welcome = byId('welcome', HTMLElement);
/** the race in it, by what stops it, from when it was first needed @type {Promise<() => void> | null} */
let race = null;
/** @type {() => void} */
let onTry = () => undefined;

/** Shows what there is before a picture is: a race, where there is a recording of one. @param {boolean} isShown */
function showWelcome(isShown) {
  if (welcome.hidden === !isShown && (!isShown || race)) return;
  welcome.hidden = !isShown;
  if (isShown)
    race ??= import('./race.js')
      .then(({ showRace }) => showRace(welcome, () => onTry()))
      // without a recording the words of the page remain
      .catch(() => () => undefined);
  else void race?.then((stop) => stop());
}

/** @param {Session | null} session */
function showCards(session) {
  showWelcome(session === null);
  for (const [id, isShown] of /** @type {const} */ ([
    ['picture-card', session !== null],
    ['facts-card', session !== null],
    ['chart-card', session !== null],
    ['numbers-card', session !== null && session.main.run.receipt !== null],
  ]))
    byId(id, HTMLElement).hidden = !isShown;
}

/** @param {string} name @param {Run} run */
function standOf(name, { receipt, stages }) {
  if (receipt) return `${name}: ${duration(receipt.wall_ms.total)}`;
  const current = stages.findLast(({ beganAt }) => beganAt !== null);
  return current ? `${name}: step ${numStepsDone(current)} of ${current.steps}` : name;
}

/**
 * The plain model's picture beside the finished one, or the rough one that it has got to; null: neither is there.
 *
 * @param {{ name: string, run: Run }} own
 * @param {Watched | null} beside
 * @param {Run | null} run the plain model's
 */
function comparedWith(own, beside, run) {
  if (!beside || !run || !own.run.image) return null;
  const rough = run.stages.findLast(({ thumbnail }) => thumbnail !== null)?.thumbnail ?? null;
  const source = run.image ? beside.job.links.image : rough;
  if (source === null) return null;
  const isRough = run.image === null;
  const words = `The plain model’s ${isRough ? 'rough ' : ''}picture of “${beside.job.prompt}”`;
  return {
    beside: { source, words, isCoarse: isRough, isRough },
    names: /** @type {const} */ ([standOf(own.name, own.run), standOf('plain', run)]),
  };
}

/**
 * Draws a session; `played` are the runs drawn in place of its own while they are played again.
 *
 * @param {Session | null} session
 * @param {readonly Run[] | null} played
 */
export function drawResults(session, played) {
  showCards(session);
  if (!session) return;
  const { main, beside, isBesideAwaited } = session;
  const run = played?.[0] ?? main.run;
  const besideRun = beside ? (played?.[1] ?? beside.run) : null;
  const name = nameOf(main);
  const runs = [{ name, run }, ...(besideRun ? [{ name: 'plain', run: besideRun }] : [])];

  if (drawn.job !== main.job.id || drawn.isPlayed !== (played !== null)) hero.release();
  drawn = { job: main.job.id, isPlayed: played !== null };
  hero.draw(run, {
    look: { prompt: main.job.prompt, image: main.job.links.image, isGridShown: tokensShown.checked },
    compared: comparedWith({ name, run }, beside, besideRun),
  });
  for (const id of ['tools', 'download', 'copy-picture', 'share']) byId(id, HTMLElement).hidden = run.image === null;

  drawFacts(byId('facts', HTMLDivElement), {
    name,
    run,
    beside: besideRun,
    isBesideAwaited:
      isBesideAwaited || (played !== null && besideRun !== null && run.status === 'done' && !hasEnded(besideRun)),
  });
  byId('seed-shown', HTMLSpanElement).textContent = String(main.job.seed);
  byId('engine', HTMLSpanElement).textContent = run.receipt ? ` · ${run.receipt.engine}` : '';

  drawChart(plot, runs);
  byId('plot-words', HTMLParagraphElement).textContent = describeChart(runs);
  byId('plan-words', HTMLElement).textContent = describePlan(run);

  drawNumbers(byId('numbers', HTMLElement), [
    { name, run: main.run },
    ...(beside ? [{ name: 'plain', run: beside.run }] : []),
  ]);
  playButton.hidden = main.run.status !== 'done' || isBusy(session);
  playButton.textContent = played ? 'Stop' : 'Play again';
}

/**
 * Calls `draw` where what is drawn depends on more than the session, and `tryIt` where somebody who has seen the race
 * wants a picture of their own.
 *
 * @param {() => void} draw
 * @param {() => void} tryIt
 */
export function listenToResults(draw, tryIt) {
  redraw = draw;
  onTry = tryIt;
  tokensShown.onchange = draw;
  new ResizeObserver(draw).observe(plot);
}
