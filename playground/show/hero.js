/**
 * The picture, large, as it is made: the moment that a run is in, or one that somebody holds; beside it what happens
 * there, below it the filmstrip. Once the plain model's picture is there, both lie under one slider.
 *
 * @import { Look, Shown } from '../session/moments.js'
 * @import { Run } from '../session/run.js'
 */

import { element } from '../ground/element.js';
import { endingOf, momentNow, momentsOf, SEARCH, sceneOf } from '../session/moments.js';
import { hasEnded } from '../session/run.js';
import { makeCompare } from './compare.js';
import { makeFilm } from './film.js';
import { makeFrame } from './frame.js';

/** @typedef {{ beside: Shown, names: readonly [string, string] }} Compared */

/** A button that is on or off, at first on. @param {string} name @param {(isOn: boolean) => void} onPress */
function makeToggle(name, onPress) {
  const button = element('button', { type: 'button', 'aria-pressed': 'true' }, name);
  button.onclick = () => {
    const isOn = button.getAttribute('aria-pressed') !== 'true';
    button.setAttribute('aria-pressed', String(isOn));
    onPress(isOn);
  };
  return button;
}

/**
 * `host` takes the large frame, `words` what happens in it, `strip` the filmstrip; `redraw` is called where somebody
 * wants to see another moment.
 *
 * @param {{ host: HTMLElement, words: HTMLElement, strip: HTMLElement, redraw: () => void }} places
 */
export function makeHero({ host, words, strip, redraw }) {
  /** the moment that somebody holds @type {string | null} */
  let held = null;
  const layers = { edges: true, blocks: true };

  const { frame, draw: drawFrame } = makeFrame({ isNamed: true });
  const { names, draw: drawCompare } = makeCompare(frame);
  host.replaceChildren(frame, names);

  const film = makeFilm(strip, (key) => {
    held = held === key ? null : key;
    redraw();
  });

  const name = element('h3');
  const facts = element('p');
  const sentence = element('p', { className: 'note' });
  const trouble = element('p', { className: 'trouble' });
  /** @param {'edges' | 'blocks'} layer @param {string} title */
  const layerToggle = (layer, title) =>
    makeToggle(title, (isOn) => {
      layers[layer] = isOn;
      redraw();
    });
  const toggles = element(
    'div',
    { className: 'layers' },
    layerToggle('edges', 'Edges'),
    layerToggle('blocks', 'Blocks'),
  );
  const back = element('button', { type: 'button' });
  back.onclick = () => {
    // the button goes, so what was held gets the focus
    const before = held;
    held = null;
    redraw();
    if (before !== null) film.focus(before);
  };
  words.replaceChildren(name, facts, sentence, trouble, toggles, back);

  return {
    /** Lets go of a moment that is held. */
    release() {
      held = null;
    },

    /**
     * @param {Run} run
     * @param {{ look: Pick<Look, 'prompt' | 'image' | 'isGridShown'>, compared: Compared | null }} shown
     */
    draw(run, { look, compared }) {
      const now = momentNow(run);
      // the end is what is seen anyway
      if (run.image !== null && held === now) held = null;
      const ending = held === null ? endingOf(run) : null;
      const moment = momentsOf(run).find(({ key }) => key === (held ?? now));
      const seen = { ...look, layers, isHeld: held !== null };
      const { width, height } = run.size;

      host.parentElement?.style.setProperty('--ratio', String(width / height));
      drawFrame(sceneOf(run, held ?? now, seen), run.size);
      drawCompare(ending && run.image ? compared : null);
      film.draw(run, {
        look: { ...seen, isHeld: true, isGridShown: false, layers: { edges: true, blocks: true } },
        held,
      });

      name.textContent = ending?.name ?? moment?.name ?? 'Not begun yet';
      facts.textContent = ending?.facts ?? (moment ? `${moment.facts} · ${moment.time}` : '');
      sentence.textContent = ending?.sentence ?? moment?.sentence ?? '';
      trouble.textContent = hasEnded(run) ? '' : (moment?.trouble ?? '');
      toggles.hidden = held !== SEARCH || run.selection === null;
      back.hidden = held === null;
      back.textContent = hasEnded(run) ? 'Back to the end' : 'Back to what happens now';
    },
  };
}
