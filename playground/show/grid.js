/**
 * Tokens as squares: the low-resolution grid, of which some squares are four.
 *
 * @import { Grid } from '../session/moments.js'
 */
import { svg } from '../ground/element.js';

/** More squares than these become four at once: nobody could follow each. */
const MOST_MOVING = 400;
/** The last square begins so long after the first. */
const SPREAD_MS = 500;

/**
 * A side of a square of the low-resolution grid is two units.
 *
 * @param {Grid} grid
 * @param {string} name
 * @param {SVGElement[]} children
 */
const drawing = ({ rows, cols }, name, children) =>
  svg(
    'svg',
    { class: name, viewBox: `0 0 ${cols * 2} ${rows * 2}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    ...children,
  );

/** @param {Grid} grid @param {number} index */
const cornerOf = ({ cols }, index) => ({ left: (index % cols) * 2, top: Math.floor(index / cols) * 2 });

/** The lines of a grid. @param {Grid} grid */
export function tokenGrid(grid) {
  const { rows, cols, split } = grid;
  const isSplit = split === 'all' ? null : new Set(split);
  const lines = [];
  for (let index = 0; index < rows * cols; index++) {
    const { left, top } = cornerOf(grid, index);
    lines.push(`M${left} ${top}h2v2h-2z`);
    if (isSplit === null || isSplit.has(index)) lines.push(`M${left + 1} ${top}v2M${left} ${top + 1}h2`);
  }
  return drawing(grid, 'tokens', [svg('path', { d: lines.join(''), 'vector-effect': 'non-scaling-stroke' })]);
}

/**
 * Squares that become four, one after the other: four of the parent's size draw back into its corners. Where the reader
 * wants no motion they are four from the start.
 *
 * @param {Grid} grid
 */
export function splittingSquares(grid) {
  const chosen = grid.split === 'all' ? [] : grid.split;
  const isMoving = chosen.length <= MOST_MOVING;
  const squares = chosen.flatMap((index, order) => {
    const { left, top } = cornerOf(grid, index);
    return [0, 1, 2, 3].map((corner) => {
      const square = svg('rect', {
        x: left + (corner % 2),
        y: top + Math.floor(corner / 2),
        width: 1,
        height: 1,
        'vector-effect': 'non-scaling-stroke',
        ...(isMoving && { class: `moving corner-${corner}` }),
      });
      if (isMoving) square.style.animationDelay = `${Math.round((SPREAD_MS * order) / chosen.length)}ms`;
      return square;
    });
  });
  return drawing(grid, 'splits', squares);
}
