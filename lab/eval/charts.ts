/** Charts of the evaluation as SVG text. Pure: the same figures give the same bytes. */
import { logger, parse, View, Warn as WARN } from 'vega';
import { type Config, compile, type TopLevelSpec } from 'vega-lite';
import type { Summary } from './summary.ts';

const CONFIG: Config = {
  background: 'white',
  font: 'sans-serif',
  axis: {
    labelFontSize: 11,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    gridColor: '#e6e6e6',
    domainColor: '#888',
    tickColor: '#888',
  },
  view: { stroke: null },
};
const INK = '#2f5fa7';
const FAINT = '#9a9a9a';

async function toSvg(spec: TopLevelSpec): Promise<string> {
  const log = logger(WARN);
  const view = new View(parse(compile({ ...spec, config: CONFIG }, { logger: log }).spec), {
    renderer: 'none',
    logger: log,
  });
  try {
    return `${await view.toSVG()}\n`;
  } finally {
    view.finalize();
  }
}

const percent = (share: number): number => 100 * share;

/**
 * Two panels, one line a row in the order given: mean score with its interval, and times faster than the first row,
 * measured (dots) beside what the FLOPs allow (rings).
 */
export function rowsChart(
  rows: readonly { readonly name: string; readonly group: string; readonly summary: Summary }[],
): Promise<string> {
  const values = rows.map(({ name, group, summary }) => ({
    name,
    group,
    mean: percent(summary.mean),
    low: percent(summary.interval.low),
    high: percent(summary.interval.high),
    faster: summary.faster.seconds,
    allowed: summary.faster.tflops,
  }));
  const y = { field: 'name', type: 'nominal', sort: null, title: null, axis: { grid: true, labelLimit: 320 } } as const;
  const bare = { ...y, axis: { grid: true, labels: false, ticks: false } } as const;
  const color = {
    field: 'group',
    type: 'nominal',
    title: null,
    scale: { domain: ['plain', 'rival', 'ralu'], range: ['#444444', '#c46a2b', INK] },
    legend: null,
  } as const;
  const score = { field: 'mean', type: 'quantitative', title: 'mean score, % (95 %)', scale: { zero: false } } as const;
  const speed = { field: 'faster', type: 'quantitative', title: 'times faster: measured ●, FLOPs allow ○' } as const;
  return toSvg({
    data: { values },
    hconcat: [
      {
        width: 300,
        height: { step: 20 },
        layer: [
          {
            mark: { type: 'rule', opacity: 0.45, strokeWidth: 2 },
            encoding: { y, x: { field: 'low', type: 'quantitative' }, x2: { field: 'high' }, color },
          },
          { mark: { type: 'point', filled: true, size: 60, opacity: 1 }, encoding: { y, x: score, color } },
        ],
      },
      {
        width: 240,
        height: { step: 20 },
        layer: [
          {
            mark: { type: 'point', filled: false, size: 60, opacity: 1 },
            encoding: { y: bare, x: { field: 'allowed', type: 'quantitative' }, color },
          },
          { mark: { type: 'point', filled: true, size: 60, opacity: 1 }, encoding: { y: bare, x: speed, color } },
        ],
      },
    ],
  });
}

/** One setting of an ablation. */
export interface AblationPoint {
  readonly value: number | string;
  readonly summary: Summary;
}

/**
 * Two panels over the settings: mean score with its interval, and Fréchet distance. Plain's figures are dashed lines,
 * where they are known. Numbers lie on a scale, logarithmic where they span a factor of ten, and are joined by a line;
 * names stand side by side in the order given.
 */
export function ablationChart({
  axis,
  points,
  plain,
}: {
  readonly axis: string;
  readonly points: readonly AblationPoint[];
  readonly plain: Summary | null;
}): Promise<string> {
  const isNumeric = points.every(({ value }) => typeof value === 'number');
  const values = points.map(({ value, summary }) => ({
    setting: value,
    mean: percent(summary.mean),
    low: percent(summary.interval.low),
    high: percent(summary.interval.high),
    frechet: summary.frechet,
  }));
  const x = isNumeric
    ? ({
        field: 'setting',
        type: 'quantitative',
        title: axis,
        scale: { type: spansDecades(points) ? 'log' : 'linear', zero: false, nice: false, padding: 10 },
      } as const)
    : ({
        field: 'setting',
        type: 'nominal',
        title: axis,
        sort: null,
        axis: { labelAngle: 0 },
        scale: { padding: 0.5 },
      } as const);
  const line = isNumeric
    ? ({ type: 'line', color: INK, point: { filled: true, size: 45, color: INK } } as const)
    : ({ type: 'point', filled: true, size: 70, opacity: 1, color: INK } as const);
  const dashed = (value: number | null) =>
    value === null
      ? []
      : [
          {
            data: { values: [{ plain: value }] },
            mark: { type: 'rule' as const, strokeDash: [5, 4], color: FAINT },
            encoding: { y: { field: 'plain', type: 'quantitative' as const } },
          },
        ];
  return toSvg({
    data: { values },
    hconcat: [
      {
        width: 340,
        height: 220,
        layer: [
          ...dashed(plain ? percent(plain.mean) : null),
          {
            mark: { type: 'rule', color: INK, opacity: 0.4 },
            encoding: { x, y: { field: 'low', type: 'quantitative' }, y2: { field: 'high' } },
          },
          {
            mark: line,
            encoding: { x, y: { field: 'mean', type: 'quantitative', title: 'mean score, %', scale: { zero: false } } },
          },
        ],
      },
      {
        width: 340,
        height: 220,
        layer: [
          ...dashed(plain?.frechet ?? null),
          {
            mark: line,
            encoding: {
              x,
              y: { field: 'frechet', type: 'quantitative', title: 'Fréchet distance', scale: { zero: false } },
            },
          },
        ],
      },
    ],
  });
}

function spansDecades(points: readonly AblationPoint[]): boolean {
  const values = points.map(({ value }) => Number(value));
  return Math.min(...values) > 0 && Math.max(...values) >= 10 * Math.min(...values);
}
