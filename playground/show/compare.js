/**
 * Two pictures in one frame with a slider between them: the plain model's, from the line on.
 *
 * @import { Shown } from '../session/moments.js'
 */
import { element } from '../ground/element.js';
import { setPicture } from './frame.js';

/** Adds the second picture to a frame; what draws it, and the line of names under both. @param {HTMLElement} frame */
export function makeCompare(frame) {
  const upper = element('img', { alt: '', hidden: true });
  const layer = element('div', { className: 'upper' }, upper);
  const divider = element(
    'div',
    { className: 'divider' },
    element('span', { className: 'handle', 'aria-hidden': 'true' }, '↔'),
  );
  const slider = element('input', {
    type: 'range',
    min: '0',
    max: '100',
    value: '50',
    'aria-label': 'Where the picture ends and the plain model’s begins',
  });
  const left = element('span');
  const right = element('span');
  const names = element('p', { className: 'names' }, left, right);
  frame.append(layer, divider, slider);
  const split = () => {
    frame.style.setProperty('--split', `${slider.value}%`);
    slider.setAttribute('aria-valuetext', `${slider.value} percent`);
  };
  slider.addEventListener('input', split);
  split();

  /** @param {{ beside: Shown, names: readonly [string, string] } | null} compared */
  function draw(compared) {
    for (const part of [layer, divider, slider, names]) part.hidden = compared === null;
    setPicture(upper, compared?.beside ?? null);
    [left.textContent, right.textContent] = compared?.names ?? ['', ''];
  }
  return { names, draw };
}
