/** What `npm run record` asks for and keeps, without making a picture. */
import { expect, test } from 'vitest';
import { parseOptions } from '../../scripts/record/options.ts';
import { fromItsStart, middleOf, type Round } from '../../scripts/record/rounds.ts';
import type { SeenEvent } from '../../src/job/events.ts';
import type { RecordedRun } from '../../src/job/recording.ts';

const run = (total: number): RecordedRun =>
  ({ preset: 'any', events: [{ type: 'done', data: { receipt: { wall_ms: { total } } } }] }) as unknown as RecordedRun;
const round = (own: number, plain: number): Round => [run(own), run(plain)];

test('without arguments the page’s own recording is made', () => {
  expect(parseOptions([])).toEqual({ prompt: 'a red apple', seed: 7, preset: '7x', rounds: 7, out: null });
  expect(parseOptions(['--help'])).toBeNull();
});

test.each([
  [['--rounds', '4'], '--rounds must be odd, got "4"'],
  [['--rounds', '101'], '--rounds must be a whole number from 1 to 99, got "101"'],
  [['--seed', '-1'], "Option '--seed' argument is ambiguous"],
  [['--seed', '4294967296'], '--seed must be a whole number from 0 to 4294967295, got "4294967296"'],
  [['--prompt', ' '], '--prompt must not be empty'],
  [['--preset', 'plain'], '--preset must be one other than plain, got "plain"'],
])('%j is refused', (args, sentence) => {
  expect(() => parseOptions(args)).toThrow(sentence);
});

test('the round in the middle is kept, whatever their order', () => {
  const rounds = [round(100, 900), round(100, 300), round(200, 1000)];
  for (const order of [rounds, rounds.toReversed(), [rounds[1], rounds[2], rounds[0]] as Round[]])
    expect(middleOf(order)).toBe(rounds[2]);
  expect(() => middleOf([])).toThrow('no round was made');
  expect(() => middleOf([[{ ...run(1), events: [] }, run(1)], round(1, 1)])).toThrow('ends with done');
});

test('times begin when the job was made', () => {
  const events = [1000, 1000, 1250].map((at, seq) => ({ seq, at, type: 'queued', data: {} }) as unknown as SeenEvent);
  expect(fromItsStart(events).map(({ at }) => at)).toEqual([0, 0, 250]);
  expect(fromItsStart([])).toEqual([]);
});
