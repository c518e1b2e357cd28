/** What a job’s previews tell of its final picture: how near they come, and whether its things are there. Pure. */
import { doublePicture } from '../../src/numerics/enlarge.ts';
import { bootstrapInterval } from './bootstrap.ts';
import type { Pixels } from './denoiser.ts';
import type { Seen, SeenObject } from './judge.ts';
import type { Estimate } from './summary.ts';

/**
 * Peak signal-to-noise ratio of two pictures of one size, dB over all bytes; Infinity of equal ones. Throws RangeError
 * where the sizes differ.
 */
export function psnr(a: Pixels, b: Pixels): number {
  if (a.width !== b.width || a.height !== b.height)
    throw new RangeError(`the pictures are ${a.width}x${a.height} and ${b.width}x${b.height}; expected one size`);
  let sum = 0;
  for (const [i, value] of a.data.entries()) sum += (value - b.data[i]!) ** 2;
  return 10 * Math.log10(255 ** 2 / (sum / a.data.length));
}

/** A preview as a page shows it beside the final picture: one of half its size is enlarged. */
export const enlarged = ({ data, width, height }: Pixels, final: Pick<Pixels, 'width'>): Pixels =>
  2 * width === final.width
    ? { data: doublePicture(data, width, height), width: 2 * width, height: 2 * height }
    : { data, width, height };

/** Things in one picture: how many there are, and how many of them another picture has too. */
export interface Kept {
  /** named or not */
  readonly seen: number;
  /** a thing of whatever name is in the other picture, its centre within the distance */
  readonly placed: number;
  /** of `seen`, those with a name */
  readonly things: number;
  /** a thing of that name is anywhere in the other picture */
  readonly named: number;
  /** a thing of that name is there, its centre within the distance */
  readonly near: number;
}

/**
 * Which things of `first` are in `last`. A thing of `last` stands for one of `first` only: nearest pairs first.
 * `distance` is between centres, in shorter sides of the picture. Laws: near <= named <= things <= seen; placed <=
 * seen; a picture keeps all its own things.
 */
export function thingsKept(first: Pick<Seen, 'objects'>, last: Pick<Seen, 'objects'>, distance: number): Kept {
  const sameName = pairsOf(first.objects, last.objects, (a, b) => a.name !== null && a.name === b.name);
  return {
    seen: first.objects.length,
    placed: pairsOf(first.objects, last.objects, () => true).filter((apart) => apart <= distance).length,
    things: first.objects.filter(({ name }) => name !== null).length,
    named: sameName.length,
    near: sameName.filter((apart) => apart <= distance).length,
  };
}

/** Distances of the pairs that fit, the nearest first, each thing in one pair at most. */
function pairsOf(
  first: readonly SeenObject[],
  last: readonly SeenObject[],
  fits: (a: SeenObject, b: SeenObject) => boolean,
): number[] {
  const pairs = first
    .flatMap((from) =>
      last.filter((to) => fits(from, to)).map((to) => ({ from, to, apart: Math.hypot(to.x - from.x, to.y - from.y) })),
    )
    .sort((a, b) => a.apart - b.apart);
  const taken = new Set<SeenObject>();
  return pairs.flatMap(({ from, to, apart }) => {
    if (taken.has(from) || taken.has(to)) return [];
    taken.add(from).add(to);
    return [apart];
  });
}

/** One job's previews beside its final picture. */
export interface Watched {
  /** how the job was sampled */
  readonly setting: string;
  readonly prompt: string;
  readonly task: string;
  readonly seed: number;
  /** of each preview against the final picture, dB */
  readonly psnr: readonly number[];
  /** things of the first preview in the final picture */
  readonly kept: Kept;
  /** the same in a picture that the last stage made alone, from noise */
  readonly chance: Kept;
}

export interface PreviewSummary {
  readonly setting: string;
  readonly pictures: number;
  readonly prompts: number;
  /** mean of each preview's, dB */
  readonly psnr: readonly Estimate[];
  /** share of pictures whose previews come nearer from stage to stage; null where a job has one preview */
  readonly rises: Estimate | null;
  /** named things in the first previews */
  readonly things: number;
  /** of them, the share with a thing of that name in the final picture, and the share with one near by; null of none */
  readonly named: Estimate | null;
  readonly near: Estimate | null;
  /** the share with one near by in the picture of the last stage alone */
  readonly chance: Estimate | null;
  /** things in the first previews, named or not; of them, the share with any thing near by, and the same by chance */
  readonly seen: number;
  readonly placed: Estimate | null;
  readonly placedByChance: Estimate | null;
}

/** The figures of one setting. Intervals are over prompts, each with all its pictures, drawn within their tasks. */
export function summarize(setting: string, all: readonly Watched[]): PreviewSummary {
  const watched = all.filter((one) => one.setting === setting);
  const tasks = [...Map.groupBy(watched, ({ task }) => task).values()].map((group) => [
    ...Map.groupBy(group, ({ prompt }) => prompt).values(),
  ]);
  const ratio = (part: (one: Watched) => number, whole: (one: Watched) => number): Estimate | null => {
    const of = (groups: readonly (readonly (readonly Watched[])[])[]): number => {
      const drawn = groups.flat(2);
      const sum = drawn.reduce((total, one) => total + whole(one), 0);
      return sum === 0 ? 0 : drawn.reduce((total, one) => total + part(one), 0) / sum;
    };
    if (watched.every((one) => whole(one) === 0)) return null;
    return { value: of(tasks), interval: bootstrapInterval(tasks, of) };
  };
  const one = () => 1;
  const things = ({ kept }: Watched) => kept.things;
  const seen = ({ kept }: Watched) => kept.seen;
  const stages = watched[0]?.psnr.length ?? 0;
  return {
    setting,
    pictures: watched.length,
    prompts: tasks.flat().length,
    psnr: Array.from({ length: stages }, (_, k) => ratio(({ psnr }) => psnr[k]!, one)!),
    rises: stages > 1 ? ratio(({ psnr }) => Number(psnr.every((db, k) => k === 0 || db > psnr[k - 1]!)), one) : null,
    things: watched.reduce((sum, { kept }) => sum + kept.things, 0),
    named: ratio(({ kept }) => kept.named, things),
    near: ratio(({ kept }) => kept.near, things),
    chance: ratio(({ chance }) => chance.near, things),
    seen: watched.reduce((sum, { kept }) => sum + kept.seen, 0),
    placed: ratio(({ kept }) => kept.placed, seen),
    placedByChance: ratio(({ chance }) => chance.placed, seen),
  };
}

/** The figures as a section of a document. `near` is the distance that counts as the same place, pixels. */
export function previewSection(summaries: readonly PreviewSummary[], near: number): string {
  const stages = Math.max(0, ...summaries.map(({ psnr }) => psnr.length));
  const db = (estimate: Estimate | undefined) => (estimate ? said(estimate, 1) : '–');
  const share = (estimate: Estimate | null) => (estimate ? said(scaled(estimate, 100), 1) : '–');
  const head = [
    'setting',
    'pictures',
    ...Array.from({ length: stages }, (_, k) => `PSNR of preview ${k + 1}, dB`),
    'nearer from stage to stage, %',
    'named things in preview 1',
    'of that name in the final picture, %',
    `and within ${near} pixels, %`,
    'the same by chance, %',
    'all things in preview 1',
    `any thing within ${near} pixels, %`,
    'the same by chance, %',
  ];
  const rows = summaries.map((summary) => [
    summary.setting,
    `${summary.pictures} of ${summary.prompts} prompts`,
    ...Array.from({ length: stages }, (_, k) => db(summary.psnr[k])),
    share(summary.rises),
    String(summary.things),
    share(summary.named),
    share(summary.near),
    share(summary.chance),
    String(summary.seen),
    share(summary.placed),
    share(summary.placedByChance),
  ]);
  return `## Previews

Previews of the stages before the last against the final picture of the same job, those of half its size enlarged. Things are what the detector finds; it names most of them. By chance: the first preview against the picture that the last stage makes alone, from noise. In brackets: 95 % intervals over prompts.

${[head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')}
`;
}

const scaled = ({ value, interval: { low, high } }: Estimate, factor: number): Estimate => ({
  value: value * factor,
  interval: { low: low * factor, high: high * factor },
});

const said = ({ value, interval: { low, high } }: Estimate, digits: number): string =>
  `${value.toFixed(digits)} (${low.toFixed(digits)} to ${high.toFixed(digits)})`;
