/** The command line of `npm run soak`. Pure. */
import { readFlags, wholeNumber } from '../local/command-line.ts';

export const HELP = `npm run soak -- [options]

Random histories of an account with crashes: requests, cancels, erasures, money in and out, suspension, tariffs that change, days and months that end, stage servers that come and go, while every message may be lost, come late or twice, and every object may be killed. The ledger's laws are looked at whenever rows are stored, those of slots after every operation. Names the seed and the shortest history that breaks one; exit code 1 then.

  --histories <n>   how many, 1 to 10000000 (1000)
  --seed <n>        of the first; each further one has the next (1)
  --crowd           crowds instead, in real processes: 500 jobs in one line, 300 over the waiting limit, many at once, then blows to servers and Worker while jobs are watched, shared and asked for several at a time. Prints a table, and each law that does not hold; exit code 1 then
  --jobs <n>        of the crowd that comes all at once, 1 to 10000 (1000)
  --minutes <n>     of blows, 0 to 10000 (60)
  --help
`;

export interface SoakOptions {
  readonly histories: number;
  readonly seed: number;
  /** crowds instead of histories; null: histories */
  readonly crowd: { readonly jobs: number; readonly minutes: number } | null;
}

/** What the arguments ask for; null when they ask for help. Throws UsageError. */
export function parseOptions(args: readonly string[]): SoakOptions | null {
  const { values } = readFlags(args, {
    options: {
      histories: { type: 'string', default: '1000' },
      seed: { type: 'string', default: '1' },
      crowd: { type: 'boolean', default: false },
      jobs: { type: 'string', default: '1000' },
      minutes: { type: 'string', default: '60' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return null;
  const jobs = wholeNumber('--jobs', values.jobs, { min: 1, max: 10_000 });
  const minutes = wholeNumber('--minutes', values.minutes, { min: 0, max: 10_000 });
  return {
    crowd: values.crowd ? { jobs, minutes } : null,
    histories: wholeNumber('--histories', values.histories, { min: 1, max: 1e7 }),
    seed: wholeNumber('--seed', values.seed, { min: 0, max: 2 ** 32 - 1 }),
  };
}
