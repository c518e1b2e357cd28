/**
 * A frame: what is seen of one moment of a run, in layers. It stays in the page while its run is shown; only what has
 * changed is written.
 *
 * @import { Grid, Scene, Shown } from '../session/moments.js'
 */
import { element } from '../ground/element.js';
import { splittingSquares, tokenGrid } from './grid.js';

/** @param {HTMLImageElement} image @param {Shown | null} shown */
export function setPicture(image, shown) {
  image.hidden = shown === null;
  image.alt = shown?.words ?? '';
  image.classList.toggle('coarse', shown?.isCoarse ?? false);
  image.classList.toggle('rough', shown?.isRough ?? false);
  if (shown === null) image.removeAttribute('src');
  else if (image.getAttribute('src') !== shown.source) {
    image.src = shown.source;
    // rough ones follow each other too fast for that
    if (shown.isRough) return;
    image.classList.add('arrived');
    image.addEventListener('animationend', () => image.classList.remove('arrived'), { once: true });
  }
}

/** @param {Grid | null} one @param {Grid | null} other */
const isSame = (one, other) =>
  one === other || (one?.rows === other?.rows && one?.cols === other?.cols && one?.split === other?.split);

/** A place for a drawing that is made anew where its grid is another. @param {(grid: Grid) => SVGElement} make */
function makePlace(make) {
  /** @type {Grid | null} */
  let drawn = null;
  const place = element('div', { className: 'layer' });
  return {
    place,
    /** @param {Grid | null} grid */
    draw(grid) {
      if (isSame(grid, drawn)) return;
      drawn = grid;
      place.replaceChildren(...(grid ? [make(grid)] : []));
    },
  };
}

/**
 * A frame, and how a scene is drawn into it. `isNamed`: its pictures say what they show; else somebody near it does.
 *
 * @param {{ isNamed: boolean }} options
 */
export function makeFrame({ isNamed }) {
  const base = element('img', { alt: '', hidden: true });
  const blocks = element('img', { alt: '', hidden: true });
  const edges = element('img', { alt: '', hidden: true });
  const grid = makePlace(tokenGrid);
  const splits = makePlace(splittingSquares);
  const frame = element('div', { className: 'frame' }, base, blocks, edges, grid.place, splits.place);
  const named = (/** @type {Shown | null} */ shown) => (isNamed || shown === null ? shown : { ...shown, words: '' });

  /** @param {Scene} scene @param {{ width: number, height: number }} size */
  function draw(scene, { width, height }) {
    frame.style.aspectRatio = `${width} / ${height}`;
    frame.classList.toggle('live', scene.isLive);
    setPicture(base, named(scene.base));
    base.classList.toggle('dim', scene.isDim);
    setPicture(blocks, named(scene.blocks));
    setPicture(edges, named(scene.edges));
    grid.draw(scene.grid);
    splits.draw(scene.splits);
  }
  return { frame, draw };
}
