/** The command line of `npm run eval` with `--url`: pictures of any deployed model, through its API. Pure. */
import { pixelSize, readFlags, UsageError, wholeNumber } from '../../../scripts/local/command-line.ts';
import { parseAddress } from '../../../scripts/local/external-stage.ts';
import { MOST_SEEDS } from '../seeds.ts';
import { type DeployedRow, parseRow } from './rows.ts';

export const HELP = `npm run eval -- --url <address> --prompts <file> --rows <ids> --out <dir> [options]

Makes pictures of the prompts on a deployed model under every row, with the same seeds, in the folders that GenEval's evaluator reads; beside them results.jsonl has steps, work and seconds from the receipts. python lab/eval/score.py <dir> scores them. What is made is kept: the same command goes on where it was.

  --url <address>           of the service
  --key <key>               its key (environment: RALU_API_KEY)
  --prompts <file>          one JSON object a line, its prompt in "prompt"; the rest is kept for the evaluator
  --rows <ids>              comma-separated: presets of the model, plain, or plain-<n>, the plain model in n steps
  --out <dir>               where the pictures go
  --first <n>               only the first n prompts (all)
  --seeds <n>               pictures of each prompt under a row, 1 to 64 (1)
  --size <WxH>              pixels (the model's default)
  --model <id>              a model of the service (its first)
`;

export interface DeployedOptions {
  readonly service: { readonly url: string; readonly key: string };
  readonly prompts: string;
  readonly rows: readonly DeployedRow[];
  readonly out: string;
  /** prompts, from the first on */
  readonly first: number;
  readonly seeds: number;
  readonly size: { readonly width: number; readonly height: number } | null;
  readonly model: string | null;
}

/** Whether the arguments ask for a deployed model. */
export const isDeployed = (args: readonly string[]): boolean => args.some((arg) => /^--url(=|$)/.test(arg));

/**
 * What the arguments ask for; null when they ask for help. `env` gives the key where no flag does. Throws UsageError.
 */
export function parseDeployed(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): DeployedOptions | null {
  const text = { type: 'string' } as const;
  const { values } = readFlags(args, {
    options: {
      ...{ url: text, key: text, prompts: text, rows: text, out: text, first: text, seeds: text, size: text },
      ...{ model: text, help: { type: 'boolean', short: 'h' } },
    },
  });
  if (values.help) return null;
  const { prompts, out, size, model } = values;
  if (prompts === undefined) throw new UsageError('--prompts is missing: a file of prompts, one JSON object a line');
  if (values.rows === undefined) throw new UsageError('--rows is missing, such as plain,7x');
  if (out === undefined) throw new UsageError('--out is missing: the folder that the pictures go to');
  const url = parseAddress('--url', values.url ?? '');
  const key = values.key ?? env.RALU_API_KEY;
  if (key === undefined || key === '')
    throw new UsageError('--url needs the key of the service: --key or the environment variable RALU_API_KEY');
  const rows = values.rows.split(',').map(parseRow);
  const twice = rows.find(({ id }, i) => rows.findIndex((row) => row.id === id) < i);
  if (twice) throw new UsageError(`--rows names ${twice.id} twice`);
  return {
    service: { url, key },
    prompts,
    rows,
    out,
    first: values.first === undefined ? Number.POSITIVE_INFINITY : wholeNumber('--first', values.first, { min: 1 }),
    seeds: values.seeds === undefined ? 1 : wholeNumber('--seeds', values.seeds, { min: 1, max: MOST_SEEDS }),
    size: size === undefined ? null : pixelSize('--size', size),
    model: model ?? null,
  };
}
