/** The command line of `npm run admin`. Pure. */
import { JURISDICTIONS, type Jurisdiction } from '../../src/account/place.ts';
import { SCOPES, type Scope } from '../../src/account/scopes.ts';
import { DIMENSIONS, type Dimension, isDay } from '../../src/billing/spending.ts';
import { number, oneOf, readFlags, UsageError } from '../local/command-line.ts';
import { parseAddress } from '../local/external-stage.ts';
import { amountOf, type Billing, billingOf, type Limits, limitsOf, positive, type TextOf } from './limits.ts';

export { HELP } from './help.ts';

/** What is to be done. */
export type Order =
  | { readonly command: 'accounts' | 'fleet' }
  | {
      readonly command: 'open';
      readonly name: string;
      readonly limits: Limits;
      readonly billing: Billing;
      /** null: its jobs may be anywhere */
      readonly jurisdiction: Jurisdiction | null;
    }
  | {
      readonly command: 'show' | 'resume' | 'audit' | 'keys' | 'erase' | 'reconcile';
      readonly account: string;
    }
  | {
      readonly command: 'change';
      readonly account: string;
      readonly name: string | null;
      readonly limits: Limits;
      readonly billing: Billing;
    }
  | {
      readonly command: 'top-up' | 'refund' | 'adjust';
      readonly account: string;
      readonly job: string | null;
      /** an adjustment may begin with a minus */
      readonly usd: string;
      /** null: a new one */
      readonly id: string | null;
      readonly reason: string | null;
    }
  | { readonly command: 'statement'; readonly account: string; readonly csv: boolean }
  | {
      readonly command: 'usage';
      readonly account: string;
      readonly from: string | null;
      readonly to: string | null;
      readonly by: Dimension;
      readonly csv: boolean;
    }
  | { readonly command: 'export-ledger' | 'restore-ledger'; readonly account: string; readonly file: string }
  | { readonly command: 'suspend'; readonly account: string; readonly running: 'finish' | 'cancel' }
  | {
      readonly command: 'make-key';
      readonly account: string;
      readonly name: string;
      readonly scopes: readonly Scope[];
      readonly expiresDays: number | null;
      readonly tflopsPerMinute: number | null;
      readonly usdPerDay: string | null;
      readonly usdPerMonth: string | null;
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
  'top-up': ['account', 'usd'],
  refund: ['account', 'job', 'usd'],
  adjust: ['account', 'usd'],
  statement: ['account'],
  usage: ['account'],
  reconcile: ['account'],
  'export-ledger': ['account'],
  'restore-ledger': ['account', 'file'],
  fleet: [],
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
  'usd-per-day': ['open', 'change', 'make-key'],
  'usd-per-month': ['open', 'change', 'make-key'],
  'usd-per-user-day': ['open', 'change'],
  'usd-per-user-month': ['open', 'change'],
  billing: ['open', 'change'],
  jurisdiction: ['open'],
  'credit-limit': ['open', 'change'],
  'stripe-customer': ['open', 'change'],
  id: ['top-up', 'refund', 'adjust'],
  reason: ['top-up', 'refund', 'adjust'],
  from: ['usage'],
  to: ['usage'],
  by: ['usage'],
  csv: ['statement', 'usage'],
  out: ['export-ledger'],
  running: ['suspend'],
  scopes: ['make-key'],
  'expires-days': ['make-key'],
  'overlap-hours': ['rotate-key'],
  yes: ['erase', 'restore-ledger'],
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
  'usd-per-day': { type: 'string' },
  'usd-per-month': { type: 'string' },
  'usd-per-user-day': { type: 'string' },
  'usd-per-user-month': { type: 'string' },
  billing: { type: 'string' },
  jurisdiction: { type: 'string' },
  'credit-limit': { type: 'string' },
  'stripe-customer': { type: 'string' },
  id: { type: 'string' },
  reason: { type: 'string' },
  from: { type: 'string' },
  to: { type: 'string' },
  by: { type: 'string' },
  csv: { type: 'boolean' },
  out: { type: 'string' },
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
/** What stands for a minus while flags are read: a number below 0 is no flag. */
const MINUS = '\u2212';

/** What the arguments ask for; null when they ask for help. Throws UsageError. */
export function parseOptions(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): AdminOptions | null {
  const { values, positionals } = readFlags(
    args.map((arg) => arg.replace(/^-(?=[\d.])/, MINUS)),
    { options: OPTIONS, allowPositionals: true },
  );
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
  const [first = '', second = '', third = ''] = given.map((one) => one.replace(MINUS, '-'));
  const text: TextOf = (flag) =>
    (values[flag as keyof typeof OPTIONS] as string | undefined)?.replace(MINUS, '-') ?? null;
  const limits = limitsOf(text);
  if (command === 'accounts' || command === 'fleet') return { command };
  if (command === 'open') {
    const asked = text('jurisdiction');
    const jurisdiction = asked === null ? null : oneOf('--jurisdiction', asked, JURISDICTIONS);
    return { command, name: nameOf('<name>', first), limits, billing: billingOf(text), jurisdiction };
  }

  if (!ACCOUNT.test(first))
    throw new UsageError(`<account> must be an id such as acct_0123456789abcdef, got "${first}"`);
  const account = first;
  switch (command) {
    case 'show':
    case 'resume':
    case 'audit':
    case 'keys':
    case 'reconcile':
      return { command, account };
    case 'erase':
      if (!values.yes) throw new UsageError(`erase removes every picture and prompt of ${account}; say so with --yes`);
      return { command, account };
    case 'change': {
      const name = text('name');
      const billing = billingOf(text);
      if (name === null && Object.keys({ ...limits, ...billing }).length === 0)
        throw new UsageError('change needs --name, --billing or a limit, such as --concurrent-jobs');
      return { command, account, name: name === null ? null : nameOf('--name', name), limits, billing };
    }
    case 'suspend':
      return { command, account, running: oneOf('--running', text('running') ?? '', ['finish', 'cancel']) };
    case 'make-key': {
      const days = text('expires-days');
      const expiresDays = days === null ? null : positive('--expires-days', days, 36_500);
      const tflopsPerMinute = limits.tflops_per_minute ?? null;
      const name = nameOf('<name>', second);
      const scopes = scopesOf(text('scopes'));
      const { usd_per_day: usdPerDay = null, usd_per_month: usdPerMonth = null } = limits;
      return { command, account, name, scopes, expiresDays, tflopsPerMinute, usdPerDay, usdPerMonth };
    }
    case 'top-up':
    case 'refund':
    case 'adjust': {
      const [job, usd] = command === 'refund' ? [second, third] : [null, second];
      const isTaken = command === 'adjust' && usd.startsWith('-');
      amountOf('<usd>', isTaken ? usd.slice(1) : usd);
      return { command, account, job, usd, id: text('id'), reason: text('reason') };
    }
    case 'statement':
      return { command, account, csv: values.csv === true };
    case 'usage': {
      const [from, to] = [dayOf('--from', text('from')), dayOf('--to', text('to'))];
      return {
        command,
        account,
        from,
        to,
        by: oneOf('--by', text('by') ?? 'day', DIMENSIONS),
        csv: values.csv === true,
      };
    }
    case 'export-ledger': {
      const file = text('out');
      if (!file) throw new UsageError('export-ledger needs --out, the file to write');
      return { command, account, file };
    }
    case 'restore-ledger':
      if (!values.yes) throw new UsageError(`restore-ledger writes into the ledger of ${account}; say so with --yes`);
      return { command, account, file: second };
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

function dayOf(flag: string, text: string | null): string | null {
  if (text !== null && !isDay(text)) throw new UsageError(`${flag} must be a day such as 2026-11-27, got "${text}"`);
  return text;
}

function nameOf(flag: string, text: string): string {
  if (text.length < 1 || text.length > 100) throw new UsageError(`${flag} must have 1 to 100 characters`);
  return text;
}

function scopesOf(text: string | null): readonly Scope[] {
  if (text === null) return SCOPES;
  return text.split(',').map((one) => oneOf('--scopes', one, SCOPES));
}
