/**
 * Claims about the method, written down before set B is measured, and what set B says of them. Pure.
 *
 * A claim: the metric of `row`, less `factor` times that of `against`, is above (or below) `margin`. It is tested
 * one-sided over the prompts, all pictures of a prompt together, and corrected after Holm with the others of its
 * family. It holds where the corrected p is at most the level and, if it is claimed at no more work, where that is so.
 */
import { tera } from '../../src/billing/work.ts';
import { figureDifference } from './detail-figures.ts';
import { bootstrapP, groupMean, holm, signFlipP } from './p-values.ts';
import { pictureKey, type Result } from './results.ts';
import { type Estimate, estimate, mean } from './summary.ts';
import { HARD } from './tasks.ts';

const METRICS = ['mean', 'hard', 'detail'] as const;
const SIDES = ['above', 'below'] as const;
const TESTS = ['sign-flip', 'bootstrap'] as const;

export interface Claim {
  /** claims that are corrected together */
  readonly family: string;
  /** `id` of a row, and of the one it is compared with */
  readonly row: string;
  readonly against: string;
  /** score of all tasks, or of the hard ones; or the share of fine detail kept, of things that both rows show */
  readonly metric: (typeof METRICS)[number];
  readonly factor: number;
  /** of the difference, 0 to 1: .02 are two points */
  readonly margin: number;
  readonly side: (typeof SIDES)[number];
  readonly test: (typeof TESTS)[number];
  /** whether `row` may take no more TFLOPs than `against` */
  readonly atNoMoreWork: boolean;
  /** of each prompt of its tasks, the hard ones but for a mean of all: neither fewer nor more are looked at */
  readonly seeds: number;
}

export interface Claims {
  /** greatest corrected p at which a claim holds */
  readonly level: number;
  readonly claims: readonly Claim[];
}

/** What was found of a claim. */
export interface Told {
  readonly claim: Claim;
  /** difference, with the 95 % interval over the prompts; null where a picture of either row is missing */
  readonly difference: Estimate | null;
  /** one-sided; 1 where nothing was measured, so that a rival left out does not ease the correction of the others */
  readonly p: number;
  readonly corrected: number;
  /** mean TFLOPs of `row` and `against`; null where nothing was measured */
  readonly flops: { readonly row: number; readonly against: number } | null;
  readonly holds: boolean | null;
}

/**
 * The claims in `text`. Throws SyntaxError where it is no JSON, RangeError naming the claim and field otherwise:
 * unknown words, a level outside (0, 1), no whole number of seeds, the same two rows and metric twice, and a sign flip
 * of what is not symmetric when both rows do equally well (a factor other than 1, a margin other than 0).
 */
export function parseClaims(text: string): Claims {
  const { level, claims } = JSON.parse(text) as Claims;
  const refuse = (field: string, value: unknown, rule: string): never => {
    throw new RangeError(`${field} is ${JSON.stringify(value)}; expected ${rule}`);
  };
  if (!(level > 0 && level < 1)) refuse('level', level, 'a number between 0 and 1');
  if (!Array.isArray(claims)) refuse('claims', claims, 'a list');
  const known = new Set<string>();
  for (const [i, claim] of claims.entries()) {
    const field = (name: keyof Claim): string => `claims[${i}].${name}`;
    const oneOf = (name: keyof Claim, words: readonly string[]): void => {
      if (!words.includes(String(claim[name]))) refuse(field(name), claim[name], words.join(' or '));
    };
    oneOf('metric', METRICS);
    oneOf('side', SIDES);
    oneOf('test', TESTS);
    for (const name of ['family', 'row', 'against'] as const)
      if (typeof claim[name] !== 'string' || claim[name] === '') refuse(field(name), claim[name], 'a name');
    for (const name of ['factor', 'margin'] as const)
      if (!Number.isFinite(claim[name])) refuse(field(name), claim[name], 'a number');
    if (!Number.isInteger(claim.seeds) || claim.seeds < 1) refuse(field('seeds'), claim.seeds, 'a whole number from 1');
    if (typeof claim.atNoMoreWork !== 'boolean') refuse(field('atNoMoreWork'), claim.atNoMoreWork, 'true or false');
    if (claim.test === 'sign-flip' && (claim.factor !== 1 || claim.margin !== 0))
      refuse(field('test'), claim.test, 'bootstrap with a factor other than 1 or a margin other than 0');
    const key = `${claim.row} ${claim.against} ${claim.metric} ${claim.side}`;
    if (known.has(key)) refuse(`claims[${i}]`, key, 'each two rows, metric and side once');
    known.add(key);
  }
  return { level, claims };
}

/** A prompt under its `nth` seed, of those that claims may be about. */
export interface Pictured {
  readonly id: string;
  readonly task: string;
  readonly seed: number;
  readonly nth: number;
}

/**
 * What the results say of each claim. `pictures` are the prompts and seeds that the claims are about: others are not
 * looked at, and a claim of a row that lacks one of them is not told.
 */
export function tellClaims(
  { level, claims }: Claims,
  results: readonly Result[],
  pictures: readonly Pictured[],
): Told[] {
  const byRow = Map.groupBy(results, ({ row }) => row);
  const all = (row: string, { metric, seeds }: Claim): Result[] | null => {
    const keys = pictures
      .filter(({ task, nth }) => nth < seeds && (metric === 'mean' || HARD.has(task)))
      .map(({ id, seed }) => pictureKey({ prompt: id, seed }));
    const byKey = new Map((byRow.get(row) ?? []).map((result) => [pictureKey(result), result]));
    const found = keys.flatMap((key) => byKey.get(key) ?? []);
    return found.length > 0 && found.length === keys.length ? found : null;
  };
  const measured = claims.map((claim) => measure(claim, all(claim.row, claim), all(claim.against, claim)));
  const corrected = new Array<number>(claims.length);
  for (const family of Map.groupBy(claims.keys(), (i) => claims[i]!.family).values())
    for (const [at, p] of holm(family.map((i) => measured[i]!.p)).entries()) corrected[family[at]!] = p;
  return measured.map((found, i) => {
    const { claim, flops } = found;
    const isWithinWork = !claim.atNoMoreWork || (flops !== null && flops.row <= flops.against);
    return {
      ...found,
      corrected: corrected[i]!,
      holds: found.difference === null ? null : corrected[i]! <= level && isWithinWork,
    };
  });
}

function measure(
  claim: Claim,
  mine: readonly Result[] | null,
  others: readonly Result[] | null,
): Omit<Told, 'corrected' | 'holds'> {
  const nothing = { claim, difference: null, p: 1, flops: null };
  if (!mine || !others) return nothing;
  const groups = differences(claim, mine, others);
  if (groups.length === 0) return nothing;
  const sign = claim.side === 'above' ? 1 : -1;
  const towards = groups.map((group) => group.map((value) => sign * (value - claim.margin)));
  return {
    claim,
    difference: estimate(groups, groupMean),
    p: claim.test === 'sign-flip' ? signFlipP(towards) : bootstrapP(towards),
    flops: { row: flopsOf(mine), against: flopsOf(others) },
  };
}

/**
 * Of each prompt, by task: mean over its pictures of mine less factor times the other's. Of detail only prompts that
 * have a picture with the same thing in both.
 */
function differences({ metric, factor }: Claim, mine: readonly Result[], others: readonly Result[]): number[][] {
  const pictures = mine.flatMap(({ prompt, task, correct, detail }, i) => {
    const other = others[i]!;
    const value =
      metric === 'detail'
        ? figureDifference(detail, other.detail, 'kept', factor)
        : Number(correct) - factor * Number(other.correct);
    return value === null ? [] : [{ prompt, task, value }];
  });
  return [...Map.groupBy(pictures, ({ task }) => task).values()].map((ofTask) =>
    [...Map.groupBy(ofTask, ({ prompt }) => prompt).values()].map((ofPrompt) =>
      mean(ofPrompt.map(({ value }) => value)),
    ),
  );
}

const flopsOf = (results: readonly Result[]): number =>
  tera(mean(results.map(({ spent }) => spent.denoiseFlops + spent.decodeFlops + spent.textFlops)));
