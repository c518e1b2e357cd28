/** The command line of `npm run record`. Pure. */
import { readFlags, UsageError, wholeNumber } from '../local/command-line.ts';

export const HELP = `npm run record -- [options]

Makes the recording that the page shows to those who have made no picture yet: one prompt with a preset and with the plain model, on this machine, with everything that both tell. Of several rounds it keeps the median. Nothing else should run meanwhile.

  --prompt <text>     what is made ("a red apple")
  --seed <number>     of both (7)
  --preset <name>     that runs beside the plain model (7x)
  --rounds <n>        odd, 1 to 99 (7)
  --out <file>        playground/race/recording.json
  --help
`;

const MAX_SEED = 2 ** 32 - 1;
const MAX_ROUNDS = 99;

export interface RecordOptions {
  readonly prompt: string;
  readonly seed: number;
  readonly preset: string;
  readonly rounds: number;
  /** null: the page's own */
  readonly out: string | null;
}

/** What `args` ask for; null when they ask for help. Throws UsageError. */
export function parseOptions(args: readonly string[]): RecordOptions | null {
  const { values } = readFlags(args, {
    options: {
      prompt: { type: 'string', default: 'a red apple' },
      seed: { type: 'string', default: '7' },
      preset: { type: 'string', default: '7x' },
      rounds: { type: 'string', default: '7' },
      out: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return null;
  const rounds = wholeNumber('--rounds', values.rounds, { min: 1, max: MAX_ROUNDS });
  // only an odd number of rounds has one in the middle
  if (rounds % 2 === 0) throw new UsageError(`--rounds must be odd, got "${values.rounds}"`);
  if (values.prompt.trim() === '') throw new UsageError('--prompt must not be empty');
  if (values.preset === 'plain') throw new UsageError('--preset must be one other than plain, got "plain"');
  return {
    prompt: values.prompt,
    seed: wholeNumber('--seed', values.seed, { min: 0, max: MAX_SEED }),
    preset: values.preset,
    rounds,
    out: values.out ?? null,
  };
}
