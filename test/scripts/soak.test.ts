import { expect, test } from 'vitest';
import { UsageError } from '../../scripts/local/command-line.ts';
import { parseOptions } from '../../scripts/soak/options.ts';
import { makeRandom } from '../../scripts/soak/random.ts';

test('the soak has a thousand histories from seed 1 where nothing else is asked for', () => {
  expect(parseOptions([])).toEqual({ histories: 1000, seed: 1, crowd: null });
  expect(parseOptions(['--histories', '10000', '--seed', '7'])).toEqual({ histories: 10_000, seed: 7, crowd: null });
  expect(parseOptions(['--help'])).toBeNull();
});

test('crowds come for an hour and a thousand at once where nothing else is asked for', () => {
  expect(parseOptions(['--crowd'])?.crowd).toEqual({ jobs: 1000, minutes: 60 });
  expect(parseOptions(['--crowd', '--jobs', '20', '--minutes', '0'])?.crowd).toEqual({ jobs: 20, minutes: 0 });
  expect(() => parseOptions(['--crowd', '--minutes', 'x'])).toThrow('--minutes must be a whole number from 0 to 10000');
});

test('what cannot be run is refused', () => {
  expect(() => parseOptions(['--histories', '0'])).toThrow(
    '--histories must be a whole number from 1 to 10000000, got "0"',
  );
  expect(() => parseOptions(['--seed', '-1'])).toThrow(UsageError);
  expect(() => parseOptions(['--seeds', '1'])).toThrow("Unknown option '--seeds'");
});

test('the same seed gives the same chance, another seed another, spread over the whole range', () => {
  const drawn = (seed: number): number[] => {
    const random = makeRandom(seed);
    return Array.from({ length: 1000 }, () => random.below(10));
  };
  expect(drawn(5)).toEqual(drawn(5));
  expect(drawn(5)).not.toEqual(drawn(6));
  const counts = Array.from({ length: 10 }, (_, digit) => drawn(5).filter((one) => one === digit).length);
  expect(Math.min(...counts)).toBeGreaterThan(60);
  expect(Math.max(...counts)).toBeLessThan(140);
});
