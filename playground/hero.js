/**
 * The picture, large: the newest of a job under way, and both pictures with a slider between them once the plain
 * model's is there.
 */
import { element } from './element.js';

/** @typedef {{ source: string, words: string, isCoarse: boolean, name: string }} HeroPicture */

/** @param {HTMLElement} host */
export function makeHero(host) {
  const under = element('img', { alt: '', hidden: true });
  const upper = element('img', { alt: '', hidden: true, className: 'upper' });
  const divider = element(
    'div',
    { className: 'divider', hidden: true },
    element('span', { className: 'handle', 'aria-hidden': 'true' }, '↔'),
  );
  const slider = element('input', {
    type: 'range',
    min: '0',
    max: '100',
    value: '50',
    hidden: true,
    'aria-label': 'Where the picture ends and the plain model’s begins',
  });
  const frame = element('div', { className: 'frame' }, under, upper, divider, slider);
  const left = element('span');
  const right = element('span');
  const names = element('p', { className: 'names', hidden: true }, left, right);
  host.replaceChildren(frame, names);
  const split = () => {
    frame.style.setProperty('--split', `${slider.value}%`);
    slider.setAttribute('aria-valuetext', `${slider.value} percent`);
  };
  slider.addEventListener('input', split);
  split();

  /** @param {HTMLImageElement} image @param {HeroPicture | null} picture */
  const put = (image, picture) => {
    image.hidden = picture === null;
    image.classList.toggle('coarse', picture?.isCoarse ?? false);
    image.alt = picture?.words ?? '';
    if (picture === null) image.removeAttribute('src');
    else if (image.getAttribute('src') !== picture.source) image.src = picture.source;
  };

  /**
   * @param {{ picture: HeroPicture | null, beside: HeroPicture | null, size: { width: number, height: number } }} shown
   */
  return function draw({ picture, beside, size }) {
    frame.style.aspectRatio = `${size.width} / ${size.height}`;
    host.style.setProperty('--ratio', String(size.width / size.height));
    put(under, picture);
    put(upper, beside);
    for (const part of [divider, slider, names]) part.hidden = beside === null;
    left.textContent = picture?.name ?? '';
    right.textContent = beside?.name ?? '';
  };
}
