/** The command line of `npm run admin`. Pure. */
import { SCOPES, type Scope } from '../../src/account/scopes.ts';
import { number, oneOf, readFlags, UsageError, wholeNumber } from '../local/command-line.ts';
import { parseAddress } from '../local/external-stage.ts';

export const HELP = `npm run admin -- <command> [arguments] [options]

Rules the accounts of a deployment with its admin key.

  accounts                        lists them
  open <name>                     opens one, with its first key
  show <account>                  one account: limits, open jobs, whether it is suspended
  change <account>                its name or limits; what is not given stays
  suspend <account>               refuses new work; --running says what becomes of jobs under way
  resume <account>                takes work again
  erase <account>                 erases every job it has now; waits until that is done
  audit <account>                 who did what to it, oldest first
  keys <account>                  lists its keys
  make-key <account> <name>       makes another
  rotate-key <account> <key>      makes one in the place of another, which opens a while longer
  revoke-key <account> <key>      a key opens nothing any more

  --url <address>                 of the Worker (environment: RALU_URL)
  --admin-key <key>               its secret ADMIN_KEY (environment: RALU_ADMIN_KEY)
  --name <text>                   change: the new name
  --images-per-minute <n>         open, change: images that each key may start in a minute
  --concurrent-jobs <n>           open, change: jobs at once
  --tflops-per-minute <n>         open, change, make-key: work that may begin in a minute; auto: by the model
  --tflops-per-image <n>          open, change: work of one image; auto: by the model
  --steps-per-image <n>           open, change: steps of one image
  --running <what>                suspend: finish or cancel
  --scopes <list>                 make-key: of generate,read,admin (all)
  --expires-days <n>              make-key: days until it expires (never)
  --overlap-hours <n>             rotate-key: how long the old key goes on opening (24)
  --yes                           erase: without it nothing is erased
  --json                          what the deployment answers, as JSON
  --help
`;

export interface Limits {
  readonly images_per_minute?: number;
  readonly concurrent_jobs?: number;
  readonly tflops_per_minute?: number | null;
  readonly tflops_per_image?: number | null;
  readonly steps_per_image?: number;
}

/** What is to be done. */
export type Order =
  | { readonly command: 'accounts' }
  | { readonly command: 'open'; readonly name: string; readonly limits: Limits }
  | { readonly command: 'show' | 'resume' | 'audit' | 'keys' | 'erase'; readonly account: string }
  | { readonly command: 'change'; readonly account: string; readonly name: string | null; readonly limits: Limits }
  | { readonly command: 'suspend'; readonly account: string; readonly running: 'finish' | 'cancel' }
  | {
      readonly command: 'make-key';
      readonly account: string;
      readonly name: string;
      readonly scopes: readonly Scope[];
      readonly expiresDays: number | null;
      readonly tflopsPerMinute: number | null;
    }
  | { readonly command: 'rotate-key'; readonly account: string; readonly key: string; readonly overlapHours: number }
  | { readonly command: 'revoke-key'; readonly account: string; readonly key: string };

export interface AdminOptions {
  /** the key is the admin's */
  readonly service: { readonly url: string; readonly key: string };
  readonly order: Order;
  readonly json: boolean;
}

/** What comes after each command. */
const ARGUMENTS: Readonly<Record<Order['command'], readonly string[]>> = {
  accounts: [],
  open: ['name'],
  show: ['account'],
  change: ['account'],
  suspend: ['account'],
  resume: ['account'],
  erase: ['account'],
  audit: ['account'],
  keys: ['account'],
  'make-key': ['account', 'name'],
  'rotate-key': ['account', 'key'],
  'revoke-key': ['account', 'key'],
};
const COMMANDS = Object.keys(ARGUMENTS) as Order['command'][];

/** Flags that only some commands take. */
const FLAGS_OF: Readonly<Record<string, readonly Order['command'][]>> = {
  name: ['change'],
  'images-per-minute': ['open', 'change'],
  'concurrent-jobs': ['open', 'change'],
  'tflops-per-minute': ['open', 'change', 'make-key'],
  'tflops-per-image': ['open', 'change'],
  'steps-per-image': ['open', 'change'],
  running: ['suspend'],
  scopes: ['make-key'],
  'expires-days': ['make-key'],
  'overlap-hours': ['rotate-key'],
  yes: ['erase'],
};

const OPTIONS = {
  url: { type: 'string' },
  'admin-key': { type: 'string' },
  name: { type: 'string' },
  'images-per-minute': { type: 'string' },
  'concurrent-jobs': { type: 'string' },
  'tflops-per-minute': { type: 'string' },
  'tflops-per-image': { type: 'string' },
  'steps-per-image': { type: 'string' },
  running: { type: 'string' },
  scopes: { type: 'string' },
  'expires-days': { type: 'string' },
  'overlap-hours': { type: 'string' },
  yes: { type: 'boolean' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h' },
} as const;

const ACCOUNT = /^acct_[0-9a-f]{16}$/;
const KEY = /^[0-9a-f]{8}$/;
const MAX_TFLOPS = 1e9;

/** What the arguments ask for; null when they ask for help. Throws UsageError. */
export function parseOptions(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): AdminOptions | null {
  const { values, positionals } = readFlags(args, { options: OPTIONS, allowPositionals: true });
  if (values.help) return null;
  const [typed, ...given] = positionals;
  if (typed === undefined) throw new UsageError('a command is missing, such as accounts');
  const command = COMMANDS.find((one) => one === typed);
  if (command === undefined) throw new UsageError(`there is no command "${typed}"; there are ${COMMANDS.join(', ')}`);
  const wanted = ARGUMENTS[command];
  if (given.length !== wanted.length)
    throw new UsageError(`${[command, ...wanted.map((one) => `<${one}>`)].join(' ')} is how it is typed`);
  for (const [flag, commands] of Object.entries(FLAGS_OF))
    if (values[flag as keyof typeof values] !== undefined && !commands.includes(command))
      throw new UsageError(`--${flag} belongs to ${commands.join(' and ')}`);
  const order = orderOf(command, given, values);

  const url = values.url ?? env.RALU_URL;
  if (url === undefined || url === '')
    throw new UsageError('the address of the Worker is missing: --url or the environment variable RALU_URL');
  const key = values['admin-key'] ?? env.RALU_ADMIN_KEY;
  if (key === undefined || key === '')
    throw new UsageError('the admin key is missing: --admin-key or the environment variable RALU_ADMIN_KEY');
  return { service: { url: parseAddress('--url', url), key }, order, json: values.json };
}

type Values = { readonly [Flag in keyof typeof OPTIONS]?: string | boolean | undefined };

function orderOf(command: Order['command'], given: readonly string[], values: Values): Order {
  const [first = '', second = ''] = given;
  const text = (flag: keyof typeof OPTIONS): string | null => (values[flag] as string | undefined) ?? null;
  const limits = limitsOf(text);
  if (command === 'accounts') return { command };
  if (command === 'open') return { command, name: nameOf('<name>', first), limits };

  if (!ACCOUNT.test(first))
    throw new UsageError(`<account> must be an id such as acct_0123456789abcdef, got "${first}"`);
  const account = first;
  switch (command) {
    case 'show':
    case 'resume':
    case 'audit':
    case 'keys':
      return { command, account };
    case 'erase':
      if (!values.yes) throw new UsageError(`erase removes every picture and prompt of ${account}; say so with --yes`);
      return { command, account };
    case 'change': {
      const name = text('name');
      if (name === null && Object.keys(limits).length === 0)
        throw new UsageError('change needs --name or a limit, such as --concurrent-jobs');
      return { command, account, name: name === null ? null : nameOf('--name', name), limits };
    }
    case 'suspend':
      return { command, account, running: oneOf('--running', text('running') ?? '', ['finish', 'cancel']) };
    case 'make-key': {
      const days = text('expires-days');
      const expiresDays = days === null ? null : positive('--expires-days', days, 36_500);
      const tflopsPerMinute = limits.tflops_per_minute ?? null;
      const name = nameOf('<name>', second);
      return { command, account, name, scopes: scopesOf(text('scopes')), expiresDays, tflopsPerMinute };
    }
    case 'rotate-key':
    case 'revoke-key': {
      if (!KEY.test(second)) throw new UsageError(`<key> must be the id of a key such as 01234567, got "${second}"`);
      if (command === 'revoke-key') return { command, account, key: second };
      const hours = text('overlap-hours') ?? '24';
      const overlapHours = number('--overlap-hours', hours);
      if (overlapHours < 0 || overlapHours > 2160)
        throw new UsageError(`--overlap-hours must be from 0 to 2160, got "${hours}"`);
      return { command, account, key: second, overlapHours };
    }
  }
}

function limitsOf(text: (flag: keyof typeof OPTIONS) => string | null): Limits {
  const [images, jobs, perMinute, perImage, steps] = [
    text('images-per-minute'),
    text('concurrent-jobs'),
    text('tflops-per-minute'),
    text('tflops-per-image'),
    text('steps-per-image'),
  ];
  const work = (flag: string, value: string): number | null =>
    value === 'auto' ? null : positive(flag, value, MAX_TFLOPS);
  return {
    ...(images !== null && {
      images_per_minute: wholeNumber('--images-per-minute', images, { min: 1, max: 100_000 }),
    }),
    ...(jobs !== null && { concurrent_jobs: wholeNumber('--concurrent-jobs', jobs, { min: 1, max: 10_000 }) }),
    ...(perMinute !== null && { tflops_per_minute: work('--tflops-per-minute', perMinute) }),
    ...(perImage !== null && { tflops_per_image: work('--tflops-per-image', perImage) }),
    ...(steps !== null && { steps_per_image: wholeNumber('--steps-per-image', steps, { min: 1, max: 1000 }) }),
  };
}

function nameOf(flag: string, text: string): string {
  if (text.length < 1 || text.length > 100) throw new UsageError(`${flag} must have 1 to 100 characters`);
  return text;
}

function positive(flag: string, text: string, max: number): number {
  const value = number(flag, text);
  if (value <= 0 || value > max) throw new UsageError(`${flag} must be above 0 and at most ${max}, got "${text}"`);
  return value;
}

function scopesOf(text: string | null): readonly Scope[] {
  if (text === null) return SCOPES;
  return text.split(',').map((one) => oneOf('--scopes', one, SCOPES));
}
