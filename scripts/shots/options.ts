/** The command line of `npm run shots`. Pure. */
import { join } from 'node:path';
import { ROOT } from '../local/bundle.ts';
import { readFlags, UsageError, wholeNumber } from '../local/command-line.ts';

export const HELP = `npm run shots -- [options]

Takes the pictures of the page that the README shows, in a Chromium that is on this machine: page.jpg, a picture beside the plain model's, and page.webp, a clip of a picture coming about, played again at the pace that the page names. Nothing else should run meanwhile: the page shows times.

  --prompt <text>   what is made ("a red apple")
  --seed <number>   of both (7)
  --out <folder>    docs/pictures
  --help
`;

const MAX_SEED = 2 ** 32 - 1;

export interface ShotsOptions {
  readonly prompt: string;
  readonly seed: number;
  readonly out: string;
}

/** What `args` ask for; null when they ask for help. Throws UsageError. */
export function parseOptions(args: readonly string[]): ShotsOptions | null {
  const { values } = readFlags(args, {
    options: {
      prompt: { type: 'string', default: 'a red apple' },
      seed: { type: 'string', default: '7' },
      out: { type: 'string', default: join(ROOT, 'docs/pictures') },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return null;
  if (values.prompt.trim() === '') throw new UsageError('--prompt must not be empty');
  return {
    prompt: values.prompt,
    seed: wholeNumber('--seed', values.seed, { min: 0, max: MAX_SEED }),
    out: values.out,
  };
}
