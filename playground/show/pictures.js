/**
 * A session, or what is played of it, drawn into the page. Fetched with the first one: until then nobody waits for it.
 *
 * @import { Run } from '../session/run.js'
 * @import { Session, Watched } from '../session/session.js'
 */

import { byId } from '../ground/element.js';
import { duration } from '../ground/figures.js';
import { describeEngine } from '../session/engine.js';
import { hasEnded, numStepsDone } from '../session/run.js';
import { isBusy, nameOf } from '../session/session.js';
import { describeChart, drawChart } from './chart.js';
import { describePlan, drawFacts, drawNumbers } from './facts.js';
import { makeHero } from './hero.js';

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
 * Draws sessions into the page, one after the other. `redraw` is called where what is drawn depends on more than the
 * session.
 *
 * @param {() => void} redraw
 */
export function makePictures(redraw) {
  const tokensShown = byId('show-tokens', HTMLInputElement);
  const playButton = byId('play', HTMLButtonElement);
  const plot = byId('plot', HTMLDivElement);
  const hero = makeHero({
    host: byId('hero', HTMLDivElement),
    words: byId('moment', HTMLDivElement),
    strip: byId('stages', HTMLOListElement),
    redraw,
  });
  /** what was drawn last: another job, or a second look, begins with what happens now */
  let drawn = { job: '', isPlayed: false };
  tokensShown.onchange = redraw;
  new ResizeObserver(redraw).observe(plot);

  /**
   * `played` are the runs drawn in place of the session's own while they are played again.
   *
   * @param {Session} session
   * @param {readonly Run[] | null} played
   */
  return function draw(session, played) {
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

    drawFacts(byId('facts', HTMLDivElement), {
      name,
      run,
      beside: besideRun,
      isBesideAwaited:
        isBesideAwaited || (played !== null && besideRun !== null && run.status === 'done' && !hasEnded(besideRun)),
    });
    byId('seed-shown', HTMLSpanElement).textContent = String(main.job.seed);
    byId('engine', HTMLSpanElement).textContent = run.receipt ? ` · ${describeEngine(run.receipt.engine)}` : '';

    drawChart(plot, runs);
    byId('plot-words', HTMLParagraphElement).textContent = describeChart(runs);
    byId('plan-words', HTMLElement).textContent = describePlan(run);

    drawNumbers(byId('numbers', HTMLElement), [
      { name, run: main.run },
      ...(beside ? [{ name: 'plain', run: beside.run }] : []),
    ]);
    playButton.setAttribute('aria-disabled', String(isBusy(session)));
    playButton.textContent = played ? 'Stop' : 'Play again';
  };
}
