/** Writes a set's document, its charts and its sheets from what is kept in a folder of results. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ablationChart, rowsChart } from './charts.ts';
import { type Claims, type Pictured, tellClaims } from './claims.ts';
import type { Moments } from './frechet.ts';
import { type Report, type ReportAblation, type ReportRow, renderReport } from './report.ts';
import { currentResults, pictureKey, type Result } from './results.ts';
import type { Ablation, Row } from './row.ts';
import type { Prompt } from './run.ts';
import { documentOf, type PromptSet } from './sets.ts';
import { pictureSheet, type SheetLine } from './sheet.ts';
import { detailDifference, hardDifference, inCommon, scoreDifference, summarise } from './summary.ts';
import { FASTEST } from './targets.ts';

export interface DocumentInput {
  /** the plain run first */
  readonly rows: readonly Row[];
  readonly ablations: readonly Ablation[];
  readonly results: readonly Result[];
  /** prompts on the sheets, one a column */
  readonly showcase: readonly Prompt[];
  /** file of a kept picture */
  readonly pictureOf: (row: string, prompt: string) => string;
  /** `reference`: features of real pictures of these prompts; null where there are none */
  readonly detector: { readonly digest: string; readonly reference: Moments | null; readonly markdown: string };
  readonly set: PromptSet;
  /** the claims, and the prompts and seeds that they are about; null of a set on which nothing is confirmed */
  readonly claims: {
    readonly digest: string;
    readonly said: Claims;
    readonly pictures: readonly Pictured[];
  } | null;
  readonly model: Report['model'];
  readonly size: Report['size'];
  readonly sittings: Report['sittings'];
  readonly sentences: Report['sentences'];
}

/**
 * A row with fewer than this share of the plain row's results would take prompts away from all the others: it is left
 * out of the table.
 */
const ENOUGH = 0.5;

/**
 * The document and its pictures under `out`; resolves to the document's path. Charts and sheets of an earlier document
 * are removed.
 */
export async function writeDocument(input: DocumentInput, out: string): Promise<string> {
  const name = documentOf[input.set];
  const folder = join(out, name);
  await mkdir(folder, { recursive: true });
  for (const file of await readdir(folder)) if (/\.(svg|webp)$/.test(file)) await rm(join(folder, file));
  const save = async (file: string, content: string | Uint8Array): Promise<string> => {
    await writeFile(join(folder, file), content);
    return `${name}/${file}`;
  };

  const { rows, leftOut } = tableOf(input);
  const chart =
    rows.length < 2
      ? null
      : await save(
          'rows.svg',
          await rowsChart(rows.map(({ row, summary }) => ({ name: row.name, group: row.group, summary }))),
        );
  const groups: Record<string, string> = {};
  for (const [sheet, group] of [
    ['plain', 'plain'],
    ['ralu', 'ralu'],
    ['rivals', 'rival'],
  ] as const) {
    const [plain, ...others] = rows.map(({ row }) => row);
    const members = others.filter((row) => row.group === group);
    const lines = plain && members.length > 0 ? await sheetLines(input, [plain, ...members]) : [];
    if (lines.length > 0) groups[sheet] = await save(`${sheet}.webp`, await sheetOf(input, lines));
  }

  const charts: Record<string, string> = {};
  const sheets: Record<string, string> = {};
  const ablations: ReportAblation[] = [];
  for (const ablation of input.ablations) {
    const section = ablationOf(input, ablation);
    if (!section) continue;
    ablations.push(section);
    charts[ablation.id] = await save(`${ablation.id}.svg`, await ablationChart(section));
    const lines = await sheetLines(
      input,
      ablation.rows.map(({ id, value }) => ({ id, name: `${ablation.axis}: ${value}` })),
    );
    if (lines.length > 0) sheets[ablation.id] = await save(`${ablation.id}.webp`, await sheetOf(input, lines));
  }

  const { model, size, set, sittings, sentences, detector } = input;
  const current = currentResults(input.results, input.rows, detector.digest);
  const warned = current.filter(({ spent }) => spent.warnings.length > 0).length;
  const claims = input.claims && {
    digest: input.claims.digest,
    said: input.claims.said,
    told: tellClaims(input.claims.said, current, input.claims.pictures),
  };
  const report = {
    model,
    size,
    set,
    claims,
    sittings,
    sentences,
    detector: detector.markdown,
    rows,
    leftOut,
    ablations,
    warned,
    pictures: { chart, groups, charts, sheets },
  };
  const file = join(out, `${name}.md`);
  await writeFile(file, renderReport(report));
  return file;
}

/** The rows that can stand side by side, on the pictures that all of them have. */
function tableOf({ rows, results, detector }: DocumentInput): { rows: ReportRow[]; leftOut: string[] } {
  const current = Map.groupBy(currentResults(results, rows, detector.digest), ({ row }) => row);
  const [plain] = rows;
  const most = plain ? (current.get(plain.id)?.length ?? 0) : 0;
  if (most === 0) return { rows: [], leftOut: [] };
  const enough = rows.filter(({ id }) => (current.get(id)?.length ?? 0) >= ENOUGH * most);
  const measured = inCommon(enough.map(({ id }) => current.get(id)!));
  if (measured[0]!.length === 0) return { rows: [], leftOut: enough.map(({ name }) => name) };
  const summaries = summarise(measured, detector.reference);
  const leftOut = rows.filter((row) => current.has(row.id) && !enough.includes(row)).map(({ name }) => name);
  return { rows: enough.map((row, i) => ({ row, summary: summaries[i]!, results: measured[i]! })), leftOut };
}

/**
 * An ablation's settings that have results, on the pictures that all of them, the plain row and the fastest preset
 * have; null with fewer than two settings.
 */
function ablationOf({ rows, results, detector }: DocumentInput, ablation: Ablation): ReportAblation | null {
  const plain = rows[0]!;
  const base = rows.filter(({ id }) => id === FASTEST);
  const current = Map.groupBy(
    currentResults(results, [plain, ...base, ...ablation.rows], detector.digest),
    ({ row }) => row,
  );
  const settings = ablation.rows.filter(({ id }) => current.has(id));
  const compared = base.filter(({ id }) => current.has(id));
  const measured = inCommon([plain, ...compared, ...settings].map(({ id }) => current.get(id) ?? []));
  if (settings.length < 2 || measured[0]!.length === 0) return null;
  const [first, ...summaries] = summarise(measured, detector.reference).toSpliced(1, compared.length);
  const against = <T>(compare: (mine: readonly Result[], others: readonly Result[]) => T): T[] =>
    compared.length === 0 ? [] : measured.slice(2).map((each) => compare(each, measured[1]!));
  const points = settings.map(({ value }, i) => ({ value, summary: summaries[i]! }));
  return {
    id: ablation.id,
    title: ablation.title,
    axis: ablation.axis,
    points,
    plain: first!,
    differences: against(scoreDifference),
    hardDifferences: against(hardDifference),
    detailDifferences: against((mine, others) => detailDifference('kept', mine, others)),
    settings: settings.map((row) => row.settings),
  };
}

/** The lines of a sheet for those of `rows` that have at least one kept picture. */
async function sheetLines(
  { showcase, pictureOf, results }: DocumentInput,
  rows: readonly Pick<Row, 'id' | 'name'>[],
): Promise<SheetLine[]> {
  const isCorrect = new Map(results.map((result) => [`${result.row} ${pictureKey(result)}`, result.correct]));
  const lines: SheetLine[] = [];
  for (const { id, name } of rows) {
    const pictures = await Promise.all(
      showcase.map(async (prompt) => {
        const file = pictureOf(id, prompt.id);
        const correct = isCorrect.get(`${id} ${pictureKey({ prompt: prompt.id, seed: prompt.seed })}`);
        return correct !== undefined && existsSync(file) ? { bytes: await readFile(file), isCorrect: correct } : null;
      }),
    );
    if (pictures.some((picture) => picture !== null)) lines.push({ name, pictures });
  }
  return lines;
}

const sheetOf = ({ showcase }: DocumentInput, lines: readonly SheetLine[]): Promise<Buffer> =>
  pictureSheet({ captions: showcase.map(({ prompt }) => prompt), lines });
