/** The command line of `npm run smoke`. Pure. */
import { readFlags, UsageError, wholeNumber } from '../local/command-line.ts';
import { type ExternalStage, parseAddress, parseStage, STAGE_FLAGS } from '../local/external-stage.ts';

export const HELP = `npm run smoke -- --url <address> [options]

Walks a deployment end to end: health, models, a job with its events, its picture and its receipt, a repeated request, a cancelled job, erasing. Each step has a time limit. Says what is wrong and what to do about it; exit code 1 then.

  --url <address>           of the Worker
  --key <key>               key of an account (environment: RALU_API_KEY)
  --stage <address>         looks at this stage server by itself first
  --stage-token <token>     its token (environment: STAGE_TOKEN)
  --model <id>              a model of the service (its first)
  --prompt <text>           what is drawn (an example of the model, or "a red apple")
  --seconds <n>             longest time for a job, 1 to 3600; a GPU that must start first takes minutes (300)
  --help
`;

export interface SmokeOptions {
  readonly service: { readonly url: string; readonly key: string };
  /** looked at by itself; null: none is */
  readonly stage: ExternalStage | null;
  readonly model: string | null;
  readonly prompt: string | null;
  /** longest time for a job */
  readonly seconds: number;
}

/** What the arguments ask for; null when they ask for help. Throws UsageError. */
export function parseOptions(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): SmokeOptions | null {
  const { values } = readFlags(args, {
    options: {
      url: { type: 'string' },
      key: { type: 'string' },
      ...STAGE_FLAGS,
      model: { type: 'string' },
      prompt: { type: 'string' },
      seconds: { type: 'string', default: '300' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return null;
  if (values.url === undefined) throw new UsageError('--url is missing: the address of the Worker');
  const url = parseAddress('--url', values.url);
  const key = values.key ?? env.RALU_API_KEY;
  if (key === undefined || key === '')
    throw new UsageError('a key of an account is missing: --key or the environment variable RALU_API_KEY');
  return {
    service: { url, key },
    stage: parseStage(values, env),
    model: values.model ?? null,
    prompt: values.prompt ?? null,
    seconds: wholeNumber('--seconds', values.seconds, { min: 1, max: 3600 }),
  };
}
