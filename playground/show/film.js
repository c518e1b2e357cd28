/**
 * The filmstrip: each moment of a run, small. Pressing one holds it in the large frame, pressing it again lets go.
 *
 * @import { Look, Moment } from '../session/moments.js'
 * @import { Run } from '../session/run.js'
 */
import { element } from '../ground/element.js';
import { momentNow, momentsOf, sceneOf } from '../session/moments.js';
import { makeFrame } from './frame.js';

/** @param {string} key @param {(key: string) => void} onPress */
function makePiece(key, onPress) {
  const { frame, draw: drawFrame } = makeFrame({ isNamed: false });
  const name = element('strong');
  const facts = element('span');
  const time = element('span');
  const bar = element('progress', { max: 1, value: 0, 'aria-hidden': 'true' });
  const button = element(
    'button',
    { type: 'button', 'aria-pressed': 'false' },
    frame,
    element('span', { className: 'words' }, name, ' ', facts, ' ', time, bar),
  );
  button.onclick = () => onPress(key);
  const item = element('li', { className: 'stage' }, button);
  item.dataset.stage = key;

  /** @param {Run} run @param {Moment} moment @param {Look} look @param {string | null} held */
  function draw(run, moment, look, held) {
    const scene = sceneOf(run, key, look);
    // another stage's picture stands in its own place of the strip
    const isOwn = moment.state === 'done' || scene.base?.isRough;
    drawFrame({ ...scene, base: isOwn ? scene.base : null }, run.size);
    item.dataset.state = moment.state;
    name.textContent = moment.name;
    facts.textContent = moment.facts;
    time.textContent = moment.time;
    bar.max = moment.steps;
    bar.value = moment.stepsDone;
    button.setAttribute('aria-pressed', String(held === key));
  }
  return { item, button, draw };
}

/** @param {HTMLElement} host @param {(key: string) => void} onPress */
export function makeFilm(host, onPress) {
  /** @type {Map<string, ReturnType<typeof makePiece>>} */
  let pieces = new Map();
  /** the moment that was in sight last */
  let sighted = '';

  /** Brings a piece of a strip that is too long to the middle of it. @param {string} key */
  function sight(key) {
    if (key === sighted) return;
    sighted = key;
    const item = pieces.get(key)?.item;
    if (item) host.scrollLeft = item.offsetLeft - host.offsetLeft - (host.clientWidth - item.offsetWidth) / 2;
  }

  return {
    /** @param {Run} run @param {{ look: Look, held: string | null }} shown */
    draw(run, { look, held }) {
      const moments = momentsOf(run);
      if (moments.map(({ key }) => key).join() !== [...pieces.keys()].join()) {
        pieces = new Map(moments.map(({ key }) => [key, makePiece(key, onPress)]));
        host.replaceChildren(...[...pieces.values()].map(({ item }) => item));
      }
      for (const moment of moments) pieces.get(moment.key)?.draw(run, moment, look, held);
      // a story that is over is read from its beginning
      sight(held ?? (run.image ? (moments[0]?.key ?? '') : momentNow(run)));
    },
    /** @param {string} key */
    focus: (key) => pieces.get(key)?.button.focus(),
  };
}
