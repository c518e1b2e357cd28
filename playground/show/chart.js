/**
 * The chart of noise level against time: each stage's steps go down, and at each boundary the line jumps back up,
 * because upsampled latents get fresh noise.
 *
 * @import { Run } from '../session/run.js'
 */
import { svg } from '../ground/element.js';
import { duration, roundDuration } from '../ground/figures.js';
import { noiseLevels } from '../session/noise-levels.js';

const HEIGHT = 240;
const MARGIN = { top: 22, right: 14, bottom: 30, left: 34 };
const LEVELS = [0, 0.25, 0.5, 0.75, 1];
const FEWEST_TICKS = 3;

/** Round steps of an axis that ends at `end`. @param {number} end @param {number} most */
function ticks(end, most) {
  const rough = end / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((times) => times * power >= rough) ?? 10);
  return Array.from({ length: Math.floor(end / step) + 1 }, (_, i) => i * step);
}

/** @param {{ x: number, y: number }[]} points */
const path = (points) => points.map(({ x, y }, i) => `${i === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`).join('');

/**
 * Draws the runs into `host` at its present width, replacing what was there. The first is the one watched; its stages
 * are tinted and named.
 *
 * @param {Element} host
 * @param {readonly { name: string, run: Run }[]} runs
 */
export function drawChart(host, runs) {
  const width = Math.max(280, host.clientWidth);
  const drawn = runs.map(({ name, run }) => ({ name, run, lines: noiseLevels(run) }));
  const end =
    Math.max(100, ...drawn.flatMap(({ lines }) => lines.flatMap(({ points }) => points.map(({ ms }) => ms)))) * 1.02;
  /** @param {number} ms */
  const x = (ms) => MARGIN.left + (ms / end) * (width - MARGIN.left - MARGIN.right);
  /** @param {number} sigma */
  const y = (sigma) => HEIGHT - MARGIN.bottom - sigma * (HEIGHT - MARGIN.top - MARGIN.bottom);

  const chart = svg('svg', { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, 'aria-hidden': 'true' });

  // stages of the watched run, as bands
  const [watched] = drawn;
  for (const [index, { stage, tokens, points }] of watched?.lines.entries() ?? []) {
    const left = x(points[0]?.ms ?? 0);
    const right = x(watched?.lines[index + 1]?.points[0]?.ms ?? points.at(-1)?.ms ?? 0);
    chart.append(
      svg('rect', {
        class: `band band-${stage % 2}`,
        x: left,
        y: MARGIN.top,
        width: Math.max(0, right - left),
        height: HEIGHT - MARGIN.top - MARGIN.bottom,
      }),
    );
    const label = `${tokens} tokens`;
    const short = `${tokens}`;
    const room = right - left;
    if (room > 24)
      chart.append(
        svg(
          'text',
          { class: 'band-name', x: left + room / 2, y: MARGIN.top - 8, 'text-anchor': 'middle' },
          room > label.length * 6.5 ? label : short,
        ),
      );
  }

  // axes
  for (const sigma of LEVELS) {
    chart.append(svg('line', { class: 'grid', x1: MARGIN.left, x2: width - MARGIN.right, y1: y(sigma), y2: y(sigma) }));
    chart.append(
      svg(
        'text',
        { class: 'tick', x: MARGIN.left - 6, y: y(sigma) + 4, 'text-anchor': 'end' },
        sigma === 0 || sigma === 1 ? `${sigma}` : `${sigma}`.replace('0.', '.'),
      ),
    );
  }
  for (const ms of ticks(end, Math.max(FEWEST_TICKS, Math.floor(width / 90)))) {
    chart.append(
      svg(
        'text',
        { class: 'tick', x: x(ms), y: HEIGHT - 10, 'text-anchor': ms === 0 ? 'start' : 'middle' },
        ms === 0 ? '0' : roundDuration(ms),
      ),
    );
  }

  // the runs, the watched one on top
  for (const [order, { name, lines }] of [...drawn.entries()].reverse()) {
    const group = svg('g', { class: order === 0 ? 'line watched' : 'line beside' });
    for (const [index, { points }] of lines.entries()) {
      const before = lines[index - 1]?.points.at(-1);
      const [first] = points;
      if (before && first)
        group.append(
          svg('path', { class: 'jump', d: path([before, first].map(({ ms, sigma }) => ({ x: x(ms), y: y(sigma) }))) }),
        );
      group.append(svg('path', { class: 'fall', d: path(points.map(({ ms, sigma }) => ({ x: x(ms), y: y(sigma) }))) }));
      for (const { ms, sigma } of points)
        group.append(svg('circle', { cx: x(ms), cy: y(sigma), r: order === 0 ? 3 : 1.8 }));
    }
    const last = lines.at(-1)?.points.at(-1);
    // the watched run is named at its end, the one beside it half-way down, where the two are apart
    const points = lines.at(-1)?.points ?? [];
    const named = order === 0 ? last : points[Math.floor(points.length / 2)];
    if (last && named && drawn.length > 1) {
      const isRight = x(named.ms) > width - 120;
      group.append(
        svg(
          'text',
          {
            class: 'line-name',
            x: x(named.ms) + (isRight ? -6 : 8),
            y: y(named.sigma) - 8,
            'text-anchor': isRight ? 'end' : 'start',
          },
          `${name} · ${duration(last.ms)}`,
        ),
      );
    }
    chart.append(group);
  }
  host.replaceChildren(chart);
}

/** The chart in a sentence, for those who do not see it. @param {readonly { name: string, run: Run }[]} runs */
export function describeChart(runs) {
  const parts = runs.flatMap(({ name, run }) => {
    const lines = noiseLevels(run).filter(({ points }) => points.length > 1);
    const last = lines.at(-1)?.points.at(-1);
    if (!last) return [];
    const falls = lines
      .map(
        ({ stage, points }) =>
          `stage ${stage} from ${points[0]?.sigma.toFixed(2)} to ${points.at(-1)?.sigma.toFixed(2)}`,
      )
      .join(', ');
    return [`${name}: ${falls}, after ${duration(last.ms)}`];
  });
  return parts.length === 0
    ? 'Noise level against time: nothing yet.'
    : `Noise level against time. ${parts.join('. ')}.`;
}
