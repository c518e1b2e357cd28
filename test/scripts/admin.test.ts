import { describe, expect, test } from 'vitest';
import { parseOptions } from '../../scripts/admin/options.ts';

const ENV = { RALU_URL: 'https://ralu.example.com', RALU_ADMIN_KEY: 'secret' };
const ACCOUNT = 'acct_0123456789abcdef';
const order = (...args: string[]) => parseOptions(args, ENV)?.order;

describe('an order', () => {
  test.each([
    [['accounts'], { command: 'accounts' }],
    [['fleet'], { command: 'fleet' }],
    [
      ['open', 'mine', '--images-per-minute', '5'],
      { command: 'open', name: 'mine', limits: { images_per_minute: 5 }, billing: {}, jurisdiction: null },
    ],
    [
      ['open', 'mine', '--billing', 'postpaid', '--credit-limit', '20', '--stripe-customer', 'cus_1'],
      {
        command: 'open',
        name: 'mine',
        limits: {},
        billing: { mode: 'postpaid', credit_limit_usd: '20', stripe_customer: 'cus_1' },
        jurisdiction: null,
      },
    ],
    [
      ['open', 'mine', '--jurisdiction', 'eu'],
      { command: 'open', name: 'mine', limits: {}, billing: {}, jurisdiction: 'eu' },
    ],
    [['show', ACCOUNT], { command: 'show', account: ACCOUNT }],
    [
      ['change', ACCOUNT, '--concurrent-jobs', '7'],
      { command: 'change', account: ACCOUNT, name: null, limits: { concurrent_jobs: 7 }, billing: {} },
    ],
    [
      ['change', ACCOUNT, '--tflops-per-minute', 'auto', '--tflops-per-image', '0.5', '--steps-per-image', '50'],
      {
        command: 'change',
        account: ACCOUNT,
        name: null,
        limits: { tflops_per_minute: null, tflops_per_image: 0.5, steps_per_image: 50 },
        billing: {},
      },
    ],
    [
      ['change', ACCOUNT, '--usd-per-day', '5', '--usd-per-user-month', 'none', '--credit-limit', 'none'],
      {
        command: 'change',
        account: ACCOUNT,
        name: null,
        limits: { usd_per_day: '5', usd_per_user_month: null },
        billing: { credit_limit_usd: null },
      },
    ],
    [
      ['top-up', ACCOUNT, '12.50', '--id', 'invoice-1'],
      { command: 'top-up', account: ACCOUNT, job: null, usd: '12.50', id: 'invoice-1', reason: null },
    ],
    [
      ['refund', ACCOUNT, 'job_1', '0.01', '--reason', 'was blurred'],
      { command: 'refund', account: ACCOUNT, job: 'job_1', usd: '0.01', id: null, reason: 'was blurred' },
    ],
    [
      ['adjust', ACCOUNT, '-3', '--reason', '-3 by mistake'],
      { command: 'adjust', account: ACCOUNT, job: null, usd: '-3', id: null, reason: '-3 by mistake' },
    ],
    [['statement', ACCOUNT, '--csv'], { command: 'statement', account: ACCOUNT, csv: true }],
    [
      ['usage', ACCOUNT, '--from', '2026-11-01', '--by', 'user'],
      { command: 'usage', account: ACCOUNT, from: '2026-11-01', to: null, by: 'user', csv: false },
    ],
    [['reconcile', ACCOUNT], { command: 'reconcile', account: ACCOUNT }],
    [
      ['export-ledger', ACCOUNT, '--out', 'ledger.jsonl'],
      { command: 'export-ledger', account: ACCOUNT, file: 'ledger.jsonl' },
    ],
    [
      ['restore-ledger', ACCOUNT, 'ledger.jsonl', '--yes'],
      { command: 'restore-ledger', account: ACCOUNT, file: 'ledger.jsonl' },
    ],
    [['suspend', ACCOUNT, '--running', 'cancel'], { command: 'suspend', account: ACCOUNT, running: 'cancel' }],
    [['erase', ACCOUNT, '--yes'], { command: 'erase', account: ACCOUNT }],
    [
      ['make-key', ACCOUNT, 'page', '--scopes', 'generate,read', '--expires-days', '0.5'],
      {
        command: 'make-key',
        account: ACCOUNT,
        name: 'page',
        scopes: ['generate', 'read'],
        expiresDays: 0.5,
        tflopsPerMinute: null,
        usdPerDay: null,
        usdPerMonth: null,
      },
    ],
    [
      ['rotate-key', ACCOUNT, '01234567'],
      { command: 'rotate-key', account: ACCOUNT, key: '01234567', overlapHours: 24 },
    ],
    [['revoke-key', ACCOUNT, '01234567'], { command: 'revoke-key', account: ACCOUNT, key: '01234567' }],
  ])('%j', (args, expected) => {
    expect(order(...args)).toEqual(expected);
  });

  test('goes to the address and with the key of the flags, or of the environment', () => {
    expect(parseOptions(['accounts'], ENV)).toEqual({
      service: { url: 'https://ralu.example.com', key: 'secret' },
      order: { command: 'accounts' },
      json: false,
    });
    expect(parseOptions(['accounts', '--url', 'http://127.0.0.1:1', '--admin-key', 'k', '--json'], {})).toMatchObject({
      service: { url: 'http://127.0.0.1:1', key: 'k' },
      json: true,
    });
    expect(parseOptions(['--help'], {})).toBeNull();
  });
});

test.each([
  [[], 'a command is missing'],
  [['remove'], 'there is no command "remove"; there are accounts, open'],
  [['show'], 'show <account> is how it is typed'],
  [['accounts', 'x'], 'accounts is how it is typed'],
  [['show', 'mine'], '<account> must be an id such as acct_0123456789abcdef, got "mine"'],
  [['show', ACCOUNT, '--running', 'cancel'], '--running belongs to suspend'],
  [['suspend', ACCOUNT], '--running must be finish or cancel, got ""'],
  [['suspend', ACCOUNT, '--running', 'kill'], '--running must be finish or cancel, got "kill"'],
  [['erase', ACCOUNT], `erase removes every picture and prompt of ${ACCOUNT}; say so with --yes`],
  [['change', ACCOUNT], 'change needs --name, --billing or a limit'],
  [['change', ACCOUNT, '--usd-per-day', 'auto'], '--usd-per-day must be an amount of dollars such as 12.50, or none'],
  [['change', ACCOUNT, '--billing', 'free'], '--billing must be prepaid or postpaid, got "free"'],
  [['make-key', ACCOUNT, 'x', '--usd-per-user-day', '1'], '--usd-per-user-day belongs to open and change'],
  [['top-up', ACCOUNT], 'top-up <account> <usd> is how it is typed'],
  [['top-up', ACCOUNT, '-5'], '<usd> must be an amount of dollars above 0 such as 12.50, got "-5"'],
  [['adjust', ACCOUNT, '-0'], '<usd> must be an amount of dollars above 0 such as 12.50, got "0"'],
  [['refund', ACCOUNT, '5'], 'refund <account> <job> <usd> is how it is typed'],
  [['usage', ACCOUNT, '--from', '2026-02-30'], '--from must be a day such as 2026-11-27, got "2026-02-30"'],
  [['usage', ACCOUNT, '--by', 'prompt'], '--by must be day or model or key or user, got "prompt"'],
  [['export-ledger', ACCOUNT], 'export-ledger needs --out, the file to write'],
  [['restore-ledger', ACCOUNT, 'f'], `restore-ledger writes into the ledger of ${ACCOUNT}; say so with --yes`],
  [['change', ACCOUNT, '--concurrent-jobs', '0'], '--concurrent-jobs must be a whole number from 1 to 10000, got "0"'],
  [
    ['change', ACCOUNT, '--tflops-per-image', '0'],
    '--tflops-per-image must be above 0 and at most 1000000000, got "0"',
  ],
  [['make-key', ACCOUNT, 'x', '--tflops-per-image', '1'], '--tflops-per-image belongs to open and change'],
  [['make-key', ACCOUNT, 'x', '--scopes', 'root'], '--scopes must be generate or read or admin, got "root"'],
  [['make-key', ACCOUNT, 'x', '--expires-days', '0'], '--expires-days must be above 0 and at most 36500, got "0"'],
  [
    ['rotate-key', ACCOUNT, '01234567', '--overlap-hours', '3000'],
    '--overlap-hours must be from 0 to 2160, got "3000"',
  ],
  [['revoke-key', ACCOUNT, 'first'], '<key> must be the id of a key such as 01234567, got "first"'],
  [['open', ''], '<name> must have 1 to 100 characters'],
  [['open', 'mine', '--jurisdiction', 'mars'], '--jurisdiction must be eu or us or fedramp, got "mars"'],
  [['change', ACCOUNT, '--jurisdiction', 'eu'], '--jurisdiction belongs to open'],
])('%j is refused: %s', (args, sentence) => {
  expect(() => order(...args)).toThrow(sentence);
});

test('without an address or a key it says which is missing', () => {
  expect(() => parseOptions(['accounts'], { RALU_ADMIN_KEY: 'k' })).toThrow('RALU_URL');
  expect(() => parseOptions(['accounts'], { RALU_URL: 'http://127.0.0.1:1' })).toThrow('RALU_ADMIN_KEY');
});
