/** The command line of `npm run eval`. Pure. */
import { parseArgs } from 'node:util';

export const HELP = `npm run eval -- [options]

Runs every way of sampling over the evaluation's prompts on the embedded model, scores the pictures and writes docs/evaluation.md.
A run that was stopped goes on where it was: what is measured is kept under .ralu/eval, by model and size. Delete that folder to measure anew.

  --size <WxH>              pixels (the model's default)
  --rows <ids>              only these rows of the table, comma-separated (all); the first of all rows, plain, is always among them
  --ablations <ids>         all, none, or some, comma-separated (all)
  --prompts <n>             the first n prompts of each task (all)
  --model <id>              a model of the stage server (its first)
  --out <dir>               where evaluation.md and its pictures go (docs)
  --report                  measures nothing, only writes the document from what is kept
  --help`;

/** Arguments that make no sense; the message is for the person who typed them. */
export class UsageError extends Error {
  override name = 'UsageError';
}

export interface EvalOptions {
  readonly size: { readonly width: number; readonly height: number } | null;
  /** null: all */
  readonly rows: readonly string[] | null;
  readonly ablations: readonly string[] | null;
  /** of each task */
  readonly prompts: number;
  readonly model: string | null;
  readonly out: string;
  readonly isReportOnly: boolean;
}

/** The options in `args`, or null when help is asked for. Throws UsageError. */
export function parseOptions(args: readonly string[]): EvalOptions | null {
  const { values } = parse(args);
  if (values.help) return null;
  const prompts = values.prompts === undefined ? Number.POSITIVE_INFINITY : Number(values.prompts);
  if (prompts !== Number.POSITIVE_INFINITY && !(Number.isInteger(prompts) && prompts >= 1))
    throw new UsageError(`--prompts must be a whole number above 0, got "${values.prompts}"`);
  return {
    size: values.size === undefined ? null : parseSize(values.size),
    rows: values.rows === undefined ? null : names(values.rows),
    ablations: values.ablations === 'all' ? null : values.ablations === 'none' ? [] : names(values.ablations),
    prompts,
    model: values.model ?? null,
    out: values.out,
    isReportOnly: values.report,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        size: { type: 'string' },
        rows: { type: 'string' },
        ablations: { type: 'string', default: 'all' },
        prompts: { type: 'string' },
        model: { type: 'string' },
        out: { type: 'string', default: 'docs' },
        report: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

const names = (list: string): string[] => list.split(',').filter(Boolean);

function parseSize(text: string): { width: number; height: number } {
  const match = /^(\d+)[x×](\d+)$/i.exec(text);
  if (!match) throw new UsageError(`--size must look like 256x256, got "${text}"`);
  return { width: Number(match[1]), height: Number(match[2]) };
}

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
