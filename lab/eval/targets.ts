/** What the model and the method were asked to reach, and whether they do. Pure. */
import type { Result } from './results.ts';
import { type Estimate, hardDifference, type Summary, scoreDifference, taskScore } from './summary.ts';

export interface Verdict {
  readonly what: string;
  readonly asked: string;
  readonly measured: string;
  /** null: not measured at this size or with these rows */
  readonly isReached: boolean | null;
  /** false: the 95 % interval of what was measured holds both sides of what was asked */
  readonly isClear: boolean;
}

/**
 * Least share of correct pictures of the plain model, by task: at 512 x 512, and for a model trained on processors
 * alone at 256 x 256.
 */
const SCORES: Readonly<Record<512 | 256, Readonly<Record<string, number>>>> = {
  512: { single: 0.95, background: 0.97, two: 0.8, position: 0.75, counting: 0.65, attribution: 0.6 },
  256: { single: 0.8, background: 0.95 },
};
/** Share of the plain model's mean score that the fastest preset keeps. */
const KEPT = 0.97;
/** Seconds of stage compute on two cores, native engine, 512 x 512. */
const SECONDS = 6;
export const FASTEST = 'ralu-7x';
/** the same with the paper's own distortion and noise */
export const PUBLISHED = 'ralu-7x-published';
/** the control: the fastest preset's last stage alone, from pure noise */
export const BLANK = 'blank';
/** rivals that the fastest preset must beat: the first is the id or its beginning */
const RIVALS: readonly (readonly [string, string])[] = [
  ['plain-7', 'seven plain steps'],
  ['bottleneck', 'Bottleneck Sampling'],
  ['taylor-7x', 'TaylorSeer'],
];

export const points = (difference: number): string => `${difference > 0 ? '+' : ''}${(100 * difference).toFixed(1)}`;
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** A row of the table: its figures and what they were made from. */
export interface Measured {
  readonly summary: Summary;
  readonly results: readonly Result[];
}

/**
 * The verdicts on `rows`, the plain model's first, at a size. A rival is beaten only at no more than its own work: both
 * figures are told.
 */
export function verdicts(
  rows: readonly Measured[],
  { width, height }: { readonly width: number; readonly height: number },
  titleOf: (task: string) => string,
): Verdict[] {
  const [plain] = rows;
  if (!plain) return [];
  const at = width === 512 && height === 512 ? 512 : 256;
  const isAsked = width === at && height === at;
  const scores = Object.entries(SCORES[at]).map(([task, least]): Verdict => {
    const score = taskScore(plain.results, task);
    const said = { what: `plain: ${titleOf(task)}, ${at} x ${at}`, asked: `at least ${(100 * least).toFixed(0)} %` };
    if (!score) return { ...said, measured: 'not measured', isReached: null, isClear: true };
    const { low, high } = score.interval;
    return {
      ...said,
      measured: `${percent(score.value)} (${percent(low)} to ${percent(high)})`,
      isReached: isAsked ? score.value >= least : null,
      isClear: low >= least || high < least,
    };
  });

  const fastest = rows.find(({ summary }) => summary.id === FASTEST);
  if (!fastest) return scores;
  const { share, cost } = fastest.summary;
  const kept: Verdict = {
    what: 'RALU 7x keeps of the plain model’s mean score',
    asked: `at least ${(100 * KEPT).toFixed(0)} %`,
    measured: share
      ? `${percent(share.value)} (${percent(share.interval.low)} to ${percent(share.interval.high)})`
      : 'the plain model has none right',
    isReached: share ? share.value >= KEPT : null,
    isClear: share !== null && (share.interval.low >= KEPT || share.interval.high < KEPT),
  };
  const beaten = RIVALS.flatMap(([begin, name]) =>
    rows.filter(({ summary }) => summary.id.startsWith(begin)).flatMap((rival) => against(fastest, rival, name)),
  );
  const seconds: Verdict = {
    what: 'RALU 7x: stage compute, 512 x 512, native engine',
    asked: `at most ${SECONDS} s on two cores`,
    measured: `${cost.seconds.toFixed(2)} s at ${width} x ${height}`,
    isReached: width === 512 && height === 512 ? cost.seconds <= SECONDS : null,
    isClear: true,
  };
  return [...scores, kept, ...beaten, seconds];
}

/** Two verdicts: by the mean of all tasks, and by that of the hard ones. */
function against(fastest: Measured, rival: Measured, name: string): Verdict[] {
  const [mine, other] = [fastest.summary.cost.tflops, rival.summary.cost.tflops];
  const isEqualWork = mine <= other;
  const told = (which: string, what: string, { value, interval }: Estimate): Verdict => ({
    what: `RALU 7x beats ${name} (\`${rival.summary.id}\`)${what}`,
    asked: `higher ${which} at equal or fewer TFLOPs`,
    measured: `${points(value)} points (${points(interval.low)} to ${points(interval.high)}) at ${mine.toPrecision(3)} against ${other.toPrecision(3)} TFLOPs`,
    isReached: value > 0 && isEqualWork,
    isClear: !isEqualWork || interval.low > 0 || interval.high <= 0,
  });
  const hard = hardDifference(fastest.results, rival.results);
  return [
    told('mean score', '', scoreDifference(fastest.results, rival.results)),
    ...(hard ? [told('mean of the hard tasks', ', hard tasks', hard)] : []),
  ];
}
