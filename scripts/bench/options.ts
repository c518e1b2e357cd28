/** The command line of `npm run bench`. Pure. */
import { parseArgs } from 'node:util';
import type { Engine } from '../local/stage.ts';

const ENGINES = ['native', 'wasm'] as const satisfies readonly Engine[];
const SIDES = ['256', '512'] as const;
const MIN_ROUNDS = 3;

export interface BenchOptions {
  readonly engines: readonly Engine[];
  /** of square pictures, pixels */
  readonly sides: readonly number[];
  /** where a picture takes least; see roundsOf */
  readonly rounds: number;
}

/**
 * What `args` ask for; without any, everything. Throws TypeError for a flag that does not exist, RangeError for a value
 * that makes no sense.
 */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      engine: { type: 'string', multiple: true, default: [...ENGINES] },
      side: { type: 'string', multiple: true, default: [...SIDES] },
      rounds: { type: 'string', default: '15' },
    },
  });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < MIN_ROUNDS)
    throw new RangeError(`--rounds must be a whole number from ${MIN_ROUNDS}, got "${values.rounds}"`);
  return {
    engines: values.engine.map((name) => oneOf('--engine', name, ENGINES)),
    sides: values.side.map((side) => Number(oneOf('--side', side, SIDES))),
    rounds,
  };
}

/** How many of `rounds` are run: what takes longer is asked less often, but a median of fewer than three is none. */
export function roundsOf({
  engine,
  side,
  rounds,
}: {
  readonly engine: Engine;
  readonly side: number;
  readonly rounds: number;
}): number {
  return Math.max(MIN_ROUNDS, Math.round(rounds / ((engine === 'wasm' ? 3 : 1) * (side > 256 ? 3 : 1))));
}

function oneOf<T extends string>(flag: string, value: string, all: readonly T[]): T {
  const found = all.find((one) => one === value);
  if (found === undefined) throw new RangeError(`${flag} must be ${all.join(' or ')}, got "${value}"`);
  return found;
}
