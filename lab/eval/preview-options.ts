/** The command line of `npm run previews`. Pure. */
import { number, oneOf, pixelSize, readFlags, UsageError, wholeNumber } from '../../scripts/local/command-line.ts';
import { MOST_SEEDS } from './seeds.ts';
import { type PromptSet, SETS } from './sets.ts';

export const HELP = `npm run --prefix lab previews -- [options]

Measures what the previews of a job tell of its final picture: how near each comes to it, and how many things of the first one are at the same place in the final picture; beside that, how many would be by chance.
Writes previews.md, a section for a document, and previews.json, every job's figures.

  --preset <name>           a preset of the model (its default); not with --N
  --N <list>                steps of each stage, comma-separated; with --e
  --e <list>                end of each stage, rising to 1
  --r <list>                share of tokens upsampled early, at each boundary but the last
  --z <list>                Z at the boundaries, 2 to 100, h fitted for each; fit: both fitted (fit)
  --set <A|B>               prompts of the evaluation (A)
  --prompts <n>             the first n prompts of each task (all)
  --seeds <n>               pictures of each prompt, 1 to 64 (1)
  --size <WxH>              pixels (the model's default)
  --out <dir>               where the files go (.ralu/previews); relative to the root of the repository
  --help
`;

/** most Zs in one run: each is a picture more for every prompt */
const MOST_ZS = 16;

export interface PreviewOptions {
  /** null: the model's default */
  readonly preset: string | null;
  /** null: those of the preset */
  readonly steps: readonly number[] | null;
  readonly ends: readonly number[] | null;
  readonly ratios: readonly number[] | null;
  readonly zs: readonly (number | 'fit')[];
  readonly set: PromptSet;
  /** of each task */
  readonly prompts: number;
  /** of each prompt */
  readonly seeds: number;
  readonly size: { readonly width: number; readonly height: number } | null;
  readonly out: string;
}

/** The options in `args`, or null when help is asked for. Throws UsageError. */
export function parsePreviewOptions(args: readonly string[]): PreviewOptions | null {
  const { values } = readFlags(args, {
    options: {
      preset: { type: 'string' },
      N: { type: 'string' },
      e: { type: 'string' },
      r: { type: 'string' },
      z: { type: 'string', default: 'fit' },
      set: { type: 'string', default: 'A' },
      prompts: { type: 'string' },
      seeds: { type: 'string', default: '1' },
      size: { type: 'string' },
      out: { type: 'string', default: '.ralu/previews' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return null;
  if (values.preset !== undefined && values.N !== undefined)
    throw new UsageError('--preset and --N exclude each other');
  if ((values.N === undefined) !== (values.e === undefined)) throw new UsageError('--N and --e belong together');
  const zs = parts(values.z).map((z): number | 'fit' => (z === 'fit' ? 'fit' : strength(z)));
  if (zs.length < 1 || zs.length > MOST_ZS)
    throw new UsageError(`--z must have 1 to ${MOST_ZS} values, got "${values.z}"`);
  return {
    preset: values.preset ?? null,
    steps: list('--N', values.N),
    ends: list('--e', values.e),
    ratios: list('--r', values.r),
    zs,
    set: oneOf('--set', values.set, SETS),
    prompts:
      values.prompts === undefined ? Number.POSITIVE_INFINITY : wholeNumber('--prompts', values.prompts, { min: 1 }),
    seeds: wholeNumber('--seeds', values.seeds, { min: 1, max: MOST_SEEDS }),
    size: values.size === undefined ? null : pixelSize('--size', values.size),
    out: values.out,
  };
}

const parts = (text: string): string[] => text.split(',').filter(Boolean);
const list = (flag: string, text: string | undefined): number[] | null =>
  text === undefined ? null : parts(text).map((part) => number(flag, part));

function strength(text: string): number {
  const z = number('--z', text);
  if (z < 2 || z > 100) throw new UsageError(`--z must be from 2 to 100, got "${text}"`);
  return z;
}
