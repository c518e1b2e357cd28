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
import { hasEnded } from './run.js';
import { isBusy, nameOf } from './session.js';
import { makeStages } from './stages.js';

const tokensShown = byId('show-tokens', HTMLInputElement);
const playButton = byId('play', HTMLButtonElement);
const plot = byId('plot', HTMLDivElement);
const drawStages = makeStages(byId('stages', HTMLDivElement));
const drawHero = makeHero(byId('hero', HTMLDivElement));

/** @param {Run} run */
const receiptTime = (run) => (run.receipt ? duration(run.receipt.wall_ms.total) : '');

/** @param {Session | null} session */
function showCards(session) {
  for (const [id, isShown] of /** @type {const} */ ([
    ['welcome', session === null],
    ['method', session !== null],
    ['picture-card', session !== null],
    ['chart-card', session !== null],
    ['numbers-card', session !== null && session.main.run.receipt !== null],
  ]))
    byId(id, HTMLElement).hidden = !isShown;
}

/** The newest picture of a run, large. @param {Watched} watched @param {Run} run */
function pictureOf({ job }, run, name = '') {
  const { prompt, links } = job;
  if (run.image)
    return {
      source: links.image,
      words: `Picture of “${prompt}”`,
      isCoarse: false,
      name: `${name}: ${receiptTime(run)}`,
    };
  const newest = run.stages.findLast(({ picture }) => picture !== null);
  return newest?.picture
    ? { source: newest.picture, words: `“${prompt}” after stage ${newest.stage}`, isCoarse: newest.stage === 1, name }
    : null;
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

  drawStages(run, { prompt: main.job.prompt, image: main.job.links.image, isGridShown: tokensShown.checked });
  const plainPicture =
    beside && besideRun?.image && run.image
      ? {
          source: beside.job.links.image,
          words: `The plain model’s picture of “${main.job.prompt}”`,
          isCoarse: false,
          name: `plain: ${receiptTime(besideRun)}`,
        }
      : null;
  drawHero({ picture: pictureOf(main, run, name), beside: plainPicture, size: run.size });
  for (const id of ['tools', 'download', 'copy-picture']) byId(id, HTMLElement).hidden = run.image === null;

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

/** Calls `draw` where what is drawn depends on more than the session. @param {() => void} draw */
export function listenToResults(draw) {
  tokensShown.onchange = draw;
  new ResizeObserver(draw).observe(plot);
}
