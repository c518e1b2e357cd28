/**
 * The race: a recording of one prompt, with a preset and with the plain model, played side by side with a clock each.
 * It is shown where there is no picture yet. This file, its style and the recording are fetched only then.
 *
 * @import { Recording, RecordedRun } from '../../src/job/recording.ts'
 * @import { Run } from '../session/run.js'
 */
import { addStyle, element } from '../ground/element.js';
import { momentNow, momentsOf, sceneOf } from '../session/moments.js';
import { hasEnded, UNKNOWN } from '../session/run.js';
import { timelineOf } from '../session/timeline.js';
import { makeFrame } from '../show/frame.js';
import { play } from '../show/play.js';
import { describeOrigin, describePace, describeResult, endOf, slownessOf } from './recording.js';

const FILE = 'race/recording.json';
const STYLE = 'style/race.css';
/** how much of it is in sight when it starts by itself */
const IN_SIGHT = 0.4;

/** Seconds with two digits behind the point, as a stopwatch has them. @param {number} ms */
const clock = (ms) => `${(ms / 1000).toFixed(2)} s`;

/** What the whole request took. @param {RecordedRun} recorded */
const lengthOf = (recorded) => endOf(recorded).receipt?.wall_ms.total ?? 0;

/**
 * One of the two: its picture, its clock, and where it is.
 *
 * @param {string} name
 * @param {RecordedRun} recorded
 * @param {Recording} recording
 */
function makeLane(name, recorded, { prompt, width, height }) {
  const { frame, draw: drawFrame } = makeFrame({ isNamed: true });
  const time = element('span', { className: 'clock' });
  const place = element('p', { className: 'note' });
  const bar = element('progress', { max: 1, value: 0, 'aria-label': `Steps of ${name}` });
  const lane = element(
    'div',
    { className: 'lane', role: 'group', 'aria-label': name },
    element('h3', {}, name, time),
    frame,
    bar,
    place,
  );
  const length = lengthOf(recorded);
  const { format, b64_json } = recorded.picture;
  const look = {
    prompt,
    image: `data:image/${format};base64,${b64_json}`,
    isGridShown: false,
    isHeld: false,
    layers: { edges: true, blocks: true },
  };

  return {
    lane,
    /** @param {Run} run */
    draw(run) {
      const moments = momentsOf(run);
      const key = momentNow(run);
      const moment = moments.find((one) => one.key === key);
      drawFrame(sceneOf(run, key, look), { width, height });
      bar.max = Math.max(
        1,
        moments.reduce((sum, { steps }) => sum + steps, 0),
      );
      bar.value = moments.reduce((sum, { stepsDone }) => sum + stepsDone, 0);
      const isOver = hasEnded(run);
      lane.classList.toggle('over', isOver);
      const all = run.stages.map(({ steps }) => steps);
      place.textContent = isOver
        ? `${all.join(' + ')} steps · ${run.stages.map(({ tokens }) => tokens).join(', ')} tokens`
        : moment
          ? `${moment.name} · ${moment.facts}`
          : 'Starts';
    },
    /** Shows the time since the start, which stands still at the end. @param {number} ms */
    tell(ms) {
      time.textContent = clock(Math.min(ms, length));
    },
  };
}

/**
 * Fills `host` with the race. `onTry` is called where somebody wants to make a picture of their own. Resolves to what
 * stops it; rejects where there is no recording, and leaves `host` as it was.
 *
 * @param {HTMLElement} host
 * @param {() => void} onTry
 */
export async function showRace(host, onTry) {
  const [answer] = await Promise.all([fetch(FILE), addStyle(STYLE)]);
  if (!answer.ok) throw new Error('there is no recording');
  /** @type {Recording} */
  const recording = await answer.json();
  const { prompt, runs } = recording;
  const lanes = [makeLane('RALU', runs[0], recording), makeLane('The plain model', runs[1], recording)];
  const slowness = slownessOf(recording);
  const timeline = timelineOf(
    runs.map(({ events }) => events),
    () => 0,
  );

  // said once, at the end: those who listen need no clock
  const result = element('p', { className: 'result', role: 'status' });
  const watch = element('button', { type: 'button' });
  const ready = element('button', { type: 'button', className: 'main' }, 'Try it');
  ready.onclick = onTry;
  host.classList.add('race');
  host.replaceChildren(
    element('h2', { id: 'welcome-title' }, 'The same picture, twice'),
    element('p', {}, `“${prompt}”, from the same seed. This is a recording, ${describePace(recording)}.`),
    element('div', { className: 'lanes' }, ...lanes.map(({ lane }) => lane)),
    result,
    element('div', { className: 'buttons' }, ready, watch),
    element('p', { className: 'note' }, describeOrigin(recording)),
  );

  let isPlaying = false;
  let own = new AbortController();
  /** @param {readonly Run[]} shown */
  const draw = (shown) => {
    for (const [i, lane] of lanes.entries()) lane.draw(shown[i] ?? UNKNOWN);
  };
  /** @param {number} ms */
  const tell = (ms) => {
    for (const lane of lanes) lane.tell(ms);
  };
  const showEnd = (label = 'Watch again') => {
    own.abort();
    isPlaying = false;
    draw(runs.map(endOf));
    tell(Number.POSITIVE_INFINITY);
    result.textContent = describeResult(recording);
    watch.textContent = label;
  };
  const start = async () => {
    own.abort();
    own = new AbortController();
    const { signal } = own;
    const began = performance.now();
    isPlaying = true;
    result.textContent = '';
    watch.textContent = 'Skip to the end';
    draw([]);
    const tick = () => {
      if (signal.aborted) return;
      tell((performance.now() - began) / slowness);
      requestAnimationFrame(tick);
    };
    tick();
    await play(timeline, { slowness, draw, signal });
    if (!signal.aborted) showEnd();
  };
  watch.onclick = () => (isPlaying ? showEnd() : start());

  const sight = new IntersectionObserver(
    (entries) => {
      if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
      sight.disconnect();
      void start();
    },
    { threshold: IN_SIGHT },
  );
  if (matchMedia('(prefers-reduced-motion: reduce)').matches) showEnd('Watch');
  else {
    draw([]);
    tell(0);
    watch.textContent = 'Watch';
    sight.observe(host);
  }
  return () => {
    sight.disconnect();
    showEnd();
  };
}
