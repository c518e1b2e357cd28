/** docs/evaluation.md from its figures. Pure. */
import type { AblationPoint } from './charts.ts';
import type { Claim, Claims, Told } from './claims.ts';
import { DETAIL_FIGURES, type DetailFigure } from './detail-figures.ts';
import type { Row } from './row.ts';
import type { PromptSet } from './sets.ts';
import { detailDifference, type Estimate, type Summary } from './summary.ts';
import { BLANK, FASTEST, points as inPoints, type Measured, PUBLISHED, type Verdict, verdicts } from './targets.ts';
import { inOrder, titleOf } from './tasks.ts';

/** One time the command ran. */
export interface Sitting {
  /** ISO date */
  readonly date: string;
  /** set A where it is not told */
  readonly set?: PromptSet;
  /** of set B: digest of the claims as they were then */
  readonly claims?: string;
  readonly command: string;
  /** cores, processor, memory, system, versions: one sentence without its full stop */
  readonly machine: string;
}

export interface ReportRow extends Measured {
  readonly row: Pick<Row, 'id' | 'name' | 'group' | 'settings' | 'reading'>;
}

export interface ReportAblation {
  readonly id: string;
  readonly title: string;
  readonly axis: string;
  readonly points: readonly AblationPoint[];
  /** plain's figures on the same prompts */
  readonly plain: Summary | null;
  /**
   * of `points`, in their order: mean score less that of the product's own fastest preset on the same prompts; empty
   * where that has no results
   */
  readonly differences: readonly Estimate[];
  /** the same of the hard tasks alone; null where there are none of them */
  readonly hardDifferences: readonly (Estimate | null)[];
  /** the same of the share of fine detail, of things that both show; null where there are none */
  readonly detailDifferences: readonly (Estimate | null)[];
  /** of `points`, in their order */
  readonly settings: readonly Row['settings'][];
}

/** What the document says; picture paths are relative to it, and null where there is no picture. */
export interface Report {
  readonly model: { readonly id: string; readonly digest: string };
  readonly size: { readonly width: number; readonly height: number };
  readonly set: PromptSet;
  /** what is told of the claims, of set B; null of set A */
  readonly claims: { readonly digest: string; readonly said: Claims; readonly told: readonly Told[] } | null;
  /** of this set */
  readonly sittings: readonly Sitting[];
  /** the detector's own accuracy, Markdown under a heading of its own */
  readonly detector: string;
  /** the plain model first; all on the same prompts */
  readonly rows: readonly ReportRow[];
  /** names of rows with too few results to stand beside the others */
  readonly leftOut: readonly string[];
  readonly ablations: readonly ReportAblation[];
  /** written by hand, kept when the document is written again; by `results`, `defaults` or the id of an ablation */
  readonly sentences: Readonly<Record<string, string>>;
  /** pictures for which the stage server had a warning, such as a word it does not know */
  readonly warned: number;
  /**
   * of the rows: a chart, and a sheet for each group of them beside the first row; of the ablations, by id: a chart and
   * a sheet each
   */
  readonly pictures: {
    readonly chart: string | null;
    readonly groups: Readonly<Record<string, string>>;
    readonly charts: Readonly<Record<string, string>>;
    readonly sheets: Readonly<Record<string, string>>;
  };
}

const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
/** Text columns to the left, columns of figures to the right: the first is text, and with `text` all are. */
const table = (head: readonly string[], rows: readonly (readonly string[])[], text = false): string =>
  [line(head), line(head.map((_, i) => (text || i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
const percent = (share: number): string => (100 * share).toFixed(1);
const figure = (value: number | null, digits = 2): string => (value === null ? '–' : value.toFixed(digits));
const significant = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));
const times = (value: number): string => `${value.toFixed(2)}x`;
/** `66.7 (62.5–70.8)` */
const share = (estimate: Estimate | null): string =>
  estimate ? `${percent(estimate.value)} (${percent(estimate.interval.low)}–${percent(estimate.interval.high)})` : '–';
const withInterval = ({ mean, interval }: Summary): string => share({ value: mean, interval });
/** `+3.4 (-1.5 to +8.3)` */
const difference = (estimate: Estimate | null | undefined): string =>
  estimate
    ? `${inPoints(estimate.value)} (${inPoints(estimate.interval.low)} to ${inPoints(estimate.interval.high)})`
    : '–';

/** The document. The same figures give the same text. */
export function renderReport(report: Report): string {
  const { rows } = report;
  const tasks = inOrder(rows.flatMap(({ summary }) => Object.keys(summary.scores)));
  const sections = [
    report.set === 'A' ? '# Evaluation' : '# Evaluation: confirmation on fresh prompts',
    opening(report),
    ...claimSections(report),
    '## The detector',
    report.detector.trim(),
    ...(report.sentences.detector ? [report.sentences.detector] : []),
    '## The rows',
    ...(rows.length === 0 ? ['No row has results yet.'] : rowSections(report, tasks)),
    ...(report.ablations.length === 0 ? [] : ['## Ablations', ABLATIONS]),
    ...report.ablations.flatMap((ablation) => ablationSection(report, ablation)),
    ...(report.sentences.defaults ? ['## What follows for the defaults', report.sentences.defaults] : []),
    ...(rows.length === 0
      ? []
      : [
          '## Settings',
          table(
            ['row', 'id', 'settings'],
            [
              ...rows.map(({ row }) => [row.name, `\`${row.id}\``, settingsText(row.settings)]),
              ...report.ablations.flatMap(({ id, axis, points, settings }) =>
                points.map(({ value }, i) => [`${axis} = ${value}`, `\`${id}\``, settingsText(settings[i]!)]),
              ),
            ],
            true,
          ),
        ]),
  ];
  return `${sections.join('\n\n')}\n`;
}

/** The claims, what was measured of each, and whether they are those that were there when measuring began. */
function claimSections({ claims, sittings }: Report): string[] {
  if (!claims) return [];
  const { digest, said, told } = claims;
  const isAsBefore = sittings.every((sitting) => sitting.claims === digest);
  return [
    '## The claims',
    [
      `They stand in \`lab/eval/claims.json\`, digest \`${digest}\`.`,
      isAsBefore
        ? 'That is the file that was there whenever pictures of this set were made.'
        : '**The file has changed since pictures of this set were first made: this is no confirmation.**',
      `Each is about all prompts of its tasks, the hard ones unless it is about a mean of all, under as many seeds as it says. A p is one-sided and over prompts, all pictures of a prompt together: by sign flips, or by the bootstrap. It is corrected after Holm within its family; a claim that was not measured counts there with 1. A claim holds from a corrected p of ${said.level} down, and where it is claimed at no more work, only so. Inference is for these prompts.`,
    ].join(' '),
    table(
      ['family', 'claim', 'seeds', 'measured, points', 'TFLOPs', 'test', 'p', 'corrected', ''],
      told.map(({ claim, difference: found, p, corrected, flops, holds }) => [
        claim.family,
        claimText(claim),
        String(claim.seeds),
        difference(found),
        flops ? `${significant(flops.row)} against ${significant(flops.against)}` : '–',
        claim.test,
        found ? p.toFixed(4) : '–',
        found ? corrected.toFixed(4) : '–',
        holds === null ? 'not measured' : holds ? 'holds' : '**not shown**',
      ]),
      true,
    ),
  ];
}

function claimText({ row, against, metric, factor, margin, side, atNoMoreWork }: Claim): string {
  const other = `${factor === 1 ? '' : `${factor} times `}\`${against}\``;
  const isAbove = side === 'above';
  const margins = Math.abs(100 * margin).toFixed(1);
  const where =
    margin === 0
      ? `${side} ${other}`
      : isAbove === margin > 0
        ? `more than ${margins} points ${side} ${other}`
        : `less than ${margins} points ${isAbove ? 'below' : 'above'} ${other}`;
  const about = { mean: 'mean of all tasks', hard: 'hard tasks', detail: 'fine detail in hard tasks' }[metric];
  return `\`${row}\` ${where}, ${about}${atNoMoreWork ? ', at no more work' : ''}`;
}

/** How many prompts and seeds there are; where a run was stopped, prompts may differ by one seed. */
function picturesOf(prompts: number, count: number): string {
  if (count === prompts) return `${prompts} prompts, each with its own fixed seed`;
  const seeds = count / prompts;
  return `${prompts} prompts, each with ${Number.isInteger(seeds) ? seeds : `${Math.floor(seeds)} or ${Math.ceil(seeds)}`} fixed seeds of its own, ${count} pictures a row`;
}

function opening({ model, size, set, sittings, rows, warned }: Report): string {
  const last = sittings.at(-1);
  const { prompts, count } = rows[0]?.summary ?? { prompts: 0, count: 0 };
  const sentences = [
    `Written by \`npm run eval${set === 'A' ? '' : ` -- --set ${set}`}\`. Model \`${model.id}\`, digest \`${model.digest.slice(0, 12)}\`, ${size.width} x ${size.height} pixels; ${picturesOf(prompts, count)}, the same for every row.`,
    set === 'A'
      ? ''
      : 'These prompts and seeds are fresh: no setting is chosen on them. Claims written down before are confirmed here, or not.',
    last
      ? `Measured on ${last.date.slice(0, 10)} by ${[...new Set(sittings.map(({ command }) => `\`${command}\``))].join(', then ')}: ${last.machine}.`
      : '',
    'Every picture is made by requests to the stage server (native engine) that the job object sends too. In a sitting prompts are the outer loop and rows the inner one, so a slow minute of the machine falls on all rows measured in it.',
    warned > 0
      ? `${warned} pictures were made with a warning of the stage server, such as a word that it does not know.`
      : '',
  ];
  return sentences.filter(Boolean).join(' ');
}

const COLUMNS = [
  'Seconds are the median of what the stage server reports for denoising and decoding. TFLOPs are the mean, of the whole picture: text, every evaluation, every decoding, for a prompt of usual length. Times faster is the ratio of the medians to the first row, beside what the ratio of the FLOPs allows.',
  'Scores are percent of pictures that show what the prompt says, as the detector sees them; the mean is over the six tasks, hard is the mean of two objects, counting, position and colour attribution, each with the 95 % interval of a bootstrap over prompts (stratified by task, a prompt with all its seeds, fixed seed). So inference is for these prompts: more seeds make the score of each surer, but they are no more prompts, and prompts of other kinds may come out otherwise. These intervals are of one row alone; to compare two rows look at paired figures, where prompts that are hard for both count for neither: of plain, and the verdicts below.',
  'Of plain: this mean over the first row’s, the same prompts drawn for both. The Fréchet distance is between the detector’s features of these pictures and of real ones of the same prompts, laid out as in the scenes this model learned: smaller is better. So few pictures bias it upwards, by about the same for every row of one table; it compares rows here and nothing else. It is not told where there are no such pictures of the prompts.',
].join('\n\n');

const DETAIL = [
  'A judge beside the detector. Scenes are made of known sprites: where the detector finds a thing that the prompt asks for, its sprite is fitted to the picture – mirrored or not, place and size to a part of a pixel, colours by least squares, the background read from the border. Fine detail is what a blur of 1 2 1 takes away, so half of what has four pixels a period. Fine detail: the regression of the picture’s on the sprite’s, within the sprite; 100 is all of it, 0 none. False detail: the energy of fine detail there that is not the sprite’s, in percent of the sprite’s own. Ghosts: the share of the picture, in percent, that is neither the background nor near a thing asked for, whether or not the detector takes it for something. A thing whose sprite does not fit has no detail, and a picture that lacks a thing asked for has no ghosts: what is there may be that thing.',
  'Columns of points compare the same things: only what is fitted in both rows’ pictures of a prompt and seed counts there, and tasks weigh alike. The means beside them are of all that a row has.',
].join('\n\n');

const CONTROL = `\`${BLANK}\` is no method but a control: the last stage of \`${FASTEST}\` alone, from noise in which there is no picture. What \`${FASTEST}\` scores above it is what its first stages contribute.`;

function rowSections({ rows, leftOut, sentences, pictures, size }: Report, tasks: readonly string[]): string[] {
  const head = [
    'row',
    'seconds',
    'TFLOPs',
    'without attention',
    'times faster',
    'FLOPs allow',
    ...tasks.map(titleOf),
    'mean (95 %)',
    'hard (95 %)',
    'of plain, %',
    'Fréchet distance',
  ];
  const body = rows.map(({ row, summary }) => [
    row.name,
    significant(summary.cost.seconds),
    significant(summary.cost.tflops),
    significant(summary.cost.tflopsWithoutAttention),
    times(summary.faster.seconds),
    times(summary.faster.tflops),
    ...tasks.map((task) => (summary.scores[task] === undefined ? '–' : percent(summary.scores[task]))),
    withInterval(summary),
    share(summary.hard),
    share(summary.share),
    figure(summary.frechet),
  ]);
  const asked = verdicts(rows, size, titleOf);
  return [
    table(head, body),
    COLUMNS,
    ...readings(rows),
    ...(rows.some(({ row }) => row.id === BLANK) ? [CONTROL] : []),
    ...(leftOut.length > 0 ? [`Left out, for want of results on these prompts: ${leftOut.join(', ')}.`] : []),
    ...(sentences.results ? [sentences.results] : []),
    ...(pictures.chart ? [`![Mean score and times faster of every row](${pictures.chart})`] : []),
    ...(Object.keys(pictures.groups).length > 0
      ? [
          '### Pictures',
          'The first prompt of each task, none chosen by eye; one seed a column. A red frame: the detector finds that the picture does not show what the prompt says.',
          ...Object.entries(pictures.groups).map(
            ([name, path]) =>
              `![Pictures: ${name === 'plain' ? 'plain by number of steps' : `plain and ${name}`}](${path})`,
          ),
        ]
      : []),
    '### What was asked for',
    table(
      ['what', 'asked', 'measured', ''],
      asked.map((verdict) => [verdict.what, verdict.asked, verdict.measured, inWords(verdict)]),
      true,
    ),
    '### Denoising alone',
    'The part that the ways of sampling change: medians a picture. Decoding beside it is the same for most; RALU decodes once more at half size, for the edges.',
    table(
      ['row', 'evaluations', 'denoising s', 'TFLOPs', 'times faster', 'FLOPs allow'],
      rows.map(({ row, summary: { cost, faster } }) => [
        row.name,
        figure(cost.evaluations, Number.isInteger(cost.evaluations) ? 0 : 1),
        significant(cost.denoiseSeconds),
        significant(cost.denoiseTflops),
        times(faster.denoiseSeconds),
        times(faster.denoiseTflops),
      ]),
    ),
    ...detailSection(rows),
    '### Edges and seams',
    [
      'Sharpness: mean gradient at Canny’s edges, grey levels a pixel. Seams: gradient energy across the borders of one token (16 pixels) and of two (32, a low-resolution token) over that across the middles beside them, geometric mean; 1 is none, and plain’s figure is what the model leaves by itself.',
      'Where early meets late: only borders of two tokens between a block upsampled early and one that was not. These blocks lie at edges, whose own gradients are in their middles; rows that have no early blocks are measured at as many blocks with most edges in their own picture, so plain’s figure is again what is there without them. Where blocks are chosen at random, or by latents, they lie less at edges and the figure is lower for that reason alone.',
      'Distance: 1 - MS-SSIM to the plain picture of the same prompt and seed, a side figure: another picture is not a worse one.',
    ].join(' '),
    table(
      ['row', 'sharpness', 'seams, token', 'seams, two tokens', 'where early meets late', 'distance to plain'],
      rows.map(({ row, summary }) => [
        row.name,
        figure(summary.gradient, 1),
        figure(summary.seams.token, 3),
        figure(summary.seams.twoTokens, 3),
        figure(summary.seams.meeting, 3),
        figure(summary.distance, 3),
      ]),
    ),
  ];
}

/** Means of every row, and differences to RALU 7x as published; to the product's own where that is not here. */
function detailSection(rows: readonly ReportRow[]): string[] {
  const idOf = ({ row }: ReportRow): string => row.id;
  const against = rows.find((row) => idOf(row) === PUBLISHED) ?? rows.find((row) => idOf(row) === FASTEST);
  const above = (row: ReportRow, figure: DetailFigure): string =>
    against && row !== against ? difference(detailDifference(figure, row.results, against.results)) : '–';
  const own = (value: number | null): string => (value === null ? '–' : percent(value));
  const beside = against ? `points above \`${idOf(against)}\`` : 'points above';
  return [
    '### Fine detail and ghosts',
    DETAIL,
    table(
      ['row', 'fine detail', beside, 'false detail', beside, 'ghosts', beside],
      rows.map((row) => [
        row.row.name,
        ...DETAIL_FIGURES.flatMap((figure) => [own(row.summary.detail[figure]), above(row, figure)]),
      ]),
    ),
  ];
}

/** What of each rival is its paper's, and what `W` is. */
function readings(rows: readonly ReportRow[]): string[] {
  const read = rows.map(({ row }) => row).filter(({ reading }) => reading);
  if (read.length === 0) return [];
  const lines = [...Map.groupBy(read, ({ reading }) => reading)].map(
    ([reading, alike]) => `- ${alike.map(({ name }) => name).join('; ')}: ${reading}.`,
  );
  return [
    'Rivals are readings of their papers for a model that takes tokens and gives a velocity, none of them tuned on it:',
    lines.join('\n'),
    'W: evaluations at the start of each stage before forecasts begin.',
  ];
}

function inWords({ isReached, isClear }: Verdict): string {
  if (isReached === null) return 'not measured here';
  return `${isReached ? 'reached' : '**not reached**'}${isClear ? '' : ', within chance'}`;
}

const ABLATIONS =
  'Each on the prompts that all its settings have. Bars are 95 % intervals of the mean score; a dashed line is the plain model on the same prompts. To compare settings look at the paired differences to RALU 7x as it is, whose pictures are of the same prompts and seeds: where the interval holds 0 the prompts do not tell the two apart.';

function ablationSection(
  { sentences, pictures }: Report,
  { id, title, axis, points, plain, differences, hardDifferences, detailDifferences }: ReportAblation,
): string[] {
  interface Line {
    readonly name: string;
    readonly summary: Summary;
    readonly above?: Estimate | undefined;
    readonly hardAbove?: Estimate | null | undefined;
    readonly detailAbove?: Estimate | null | undefined;
  }
  const rows: Line[] = points.map(({ value, summary }, i) => ({
    name: String(value),
    summary,
    above: differences[i],
    hardAbove: hardDifferences[i],
    detailAbove: detailDifferences[i],
  }));
  if (plain) rows.push({ name: 'plain', summary: plain });
  return [
    `### ${title}`,
    ...(sentences[id] ? [sentences[id]] : []),
    ...(pictures.charts[id] ? [`![${title}](${pictures.charts[id]})`] : []),
    ...(points[0] ? [`${picturesOf(points[0].summary.prompts, points[0].summary.count)}.`] : []),
    table(
      [
        axis,
        'mean (95 %)',
        `points above \`${FASTEST}\``,
        'hard (95 %)',
        'hard, points above',
        'fine detail',
        'fine detail, points above',
        'Fréchet distance',
        'seconds',
        'TFLOPs',
        'sharpness',
        'seams, token',
        'seams, two tokens',
        'where early meets late',
      ],
      rows.map(({ name, summary, above, hardAbove, detailAbove }) => [
        name,
        withInterval(summary),
        difference(above),
        share(summary.hard),
        difference(hardAbove),
        summary.detail.kept === null ? '–' : percent(summary.detail.kept),
        difference(detailAbove),
        figure(summary.frechet),
        significant(summary.cost.seconds),
        significant(summary.cost.tflops),
        figure(summary.gradient, 1),
        figure(summary.seams.token, 3),
        figure(summary.seams.twoTokens, 3),
        figure(summary.seams.meeting, 3),
      ]),
    ),
    ...(pictures.sheets[id] ? [`![Pictures: ${title}](${pictures.sheets[id]})`] : []),
  ];
}

/** `N 2, 3, 5; Z 6.26`: numbers to four digits. */
function settingsText(settings: Row['settings']): string {
  const short = (value: unknown): string =>
    typeof value === 'number'
      ? String(Number(value.toPrecision(4)))
      : Array.isArray(value)
        ? value.map(short).join(', ')
        : String(value);
  return Object.entries(settings)
    .map(([name, value]) => `${name} ${short(value)}`)
    .join('; ');
}
