import { describe, expect, test } from 'vitest';
import { parseOptions } from '../../scripts/admin/options.ts';

const ENV = { RALU_URL: 'https://ralu.example.com', RALU_ADMIN_KEY: 'secret' };
const ACCOUNT = 'acct_0123456789abcdef';
const order = (...args: string[]) => parseOptions(args, ENV)?.order;

describe('an order', () => {
  test.each([
    [['accounts'], { command: 'accounts' }],
    [['open', 'mine', '--images-per-minute', '5'], { command: 'open', name: 'mine', limits: { images_per_minute: 5 } }],
    [['show', ACCOUNT], { command: 'show', account: ACCOUNT }],
    [
      ['change', ACCOUNT, '--concurrent-jobs', '7'],
      { command: 'change', account: ACCOUNT, name: null, limits: { concurrent_jobs: 7 } },
    ],
    [
      ['change', ACCOUNT, '--tflops-per-minute', 'auto', '--tflops-per-image', '0.5', '--steps-per-image', '50'],
      {
        command: 'change',
        account: ACCOUNT,
        name: null,
        limits: { tflops_per_minute: null, tflops_per_image: 0.5, steps_per_image: 50 },
      },
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
  [['change', ACCOUNT], 'change needs --name or a limit'],
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
])('%j is refused: %s', (args, sentence) => {
  expect(() => order(...args)).toThrow(sentence);
});

test('without an address or a key it says which is missing', () => {
  expect(() => parseOptions(['accounts'], { RALU_ADMIN_KEY: 'k' })).toThrow('RALU_URL');
  expect(() => parseOptions(['accounts'], { RALU_URL: 'http://127.0.0.1:1' })).toThrow('RALU_ADMIN_KEY');
});
