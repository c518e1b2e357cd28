/** The command line of `npm run eval`. Pure. */
import { pixelSize, readFlags, UsageError, wholeNumber } from '../../scripts/local/command-line.ts';
import { MOST_SEEDS } from './seeds.ts';
import { type PromptSet, SETS } from './sets.ts';

export const HELP = `npm run eval -- [options]

Runs every way of sampling over the evaluation's prompts on the embedded model, scores the pictures and writes docs/evaluation.md.
With --set B the prompts are fresh ones, kept for confirmation: it writes docs/evaluation-b.md, which tells what is true of lab/eval/claims.json.
A run that was stopped goes on where it was: what is measured is kept under .ralu/eval, by model and size. Delete that folder to measure anew.

  --size <WxH>              pixels (the model's default)
  --rows <ids>              only these rows of the table, comma-separated (all)
  --ablations <ids>         all, none, or some, comma-separated (all; of set B none)
  --set <A|B>               A: settings are chosen on it; B: claims are confirmed on it, once (A)
  --tasks <all|hard>        hard: two objects, counting, position and colours of two alone (all)
  --prompts <n>             the first n prompts of each task (all)
  --seeds <n>               pictures of each prompt under a row, each with a seed of its own, 1 to 64 (1; with --report all that are kept)
  --model <id>              a model of the stage server (its first)
  --out <dir>               where evaluation.md and its pictures go (docs); relative to the root of the repository
  --report                  measures nothing, only writes the document from what is kept
  --help
`;

export interface EvalOptions {
  readonly size: { readonly width: number; readonly height: number } | null;
  /** null: all */
  readonly rows: readonly string[] | null;
  readonly ablations: readonly string[] | null;
  readonly tasks: 'all' | 'hard';
  /** of each task */
  readonly prompts: number;
  readonly set: PromptSet;
  /** of each prompt */
  readonly seeds: number;
  readonly model: string | null;
  readonly out: string;
  readonly isReportOnly: boolean;
}

/** The options in `args`, or null when help is asked for. Throws UsageError. */
export function parseOptions(args: readonly string[]): EvalOptions | null {
  const { values } = readFlags(args, {
    options: {
      size: { type: 'string' },
      rows: { type: 'string' },
      ablations: { type: 'string' },
      set: { type: 'string', default: 'A' },
      tasks: { type: 'string', default: 'all' },
      prompts: { type: 'string' },
      seeds: { type: 'string' },
      model: { type: 'string' },
      out: { type: 'string', default: 'docs' },
      report: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return null;
  const set = SETS.find((name) => name === values.set);
  if (!set) throw new UsageError(`--set must be ${SETS.join(' or ')}, got "${values.set}"`);
  if (values.tasks !== 'all' && values.tasks !== 'hard')
    throw new UsageError(`--tasks must be all or hard, got "${values.tasks}"`);
  const ablations = values.ablations ?? (set === 'A' ? 'all' : 'none');
  return {
    size: values.size === undefined ? null : pixelSize('--size', values.size),
    rows: values.rows === undefined ? null : names(values.rows),
    ablations: ablations === 'all' ? null : ablations === 'none' ? [] : names(ablations),
    set,
    tasks: values.tasks,
    prompts:
      values.prompts === undefined ? Number.POSITIVE_INFINITY : wholeNumber('--prompts', values.prompts, { min: 1 }),
    seeds:
      values.seeds === undefined
        ? values.report
          ? MOST_SEEDS
          : 1
        : wholeNumber('--seeds', values.seeds, { min: 1, max: MOST_SEEDS }),
    model: values.model ?? null,
    out: values.out,
    isReportOnly: values.report,
  };
}

const names = (list: string): string[] => list.split(',').filter(Boolean);

/**
 * The members of `all` that `ids` names, in the order of `all`; all of them for null. Throws UsageError naming those
 * that do not exist.
 */
export function choose<T extends { readonly id: string }>(
  all: readonly T[],
  ids: readonly string[] | null,
  option: string,
): T[] {
  const unknown = ids?.filter((id) => !all.some((one) => one.id === id)) ?? [];
  if (unknown.length > 0)
    throw new UsageError(
      `${option}: there is no ${unknown.join(', ')}; there are ${all.map(({ id }) => id).join(', ')}`,
    );
  return all.filter(({ id }) => ids === null || ids.includes(id));
}
