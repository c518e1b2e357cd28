/** The command line of `npm run bench`. Pure. */
import { oneOf, readFlags, wholeNumber } from '../local/command-line.ts';
import type { Engine } from '../local/stage.ts';

export const HELP = `npm run bench -- [options]

Measures every figure the documentation states, here and now, and writes docs/benchmarks.md. Each option shortens it, and the document with it.

  --engine <name>   only native or wasm, ONNX Runtime of the stage server (both)
  --side <pixels>   only square pictures of 256 or 512 (both)
  --rounds <n>      rounds of requests, at least 3 (15)
  --only <section>  mathematics, requests, streams, money, rows, memory, cpu or page: prints this alone, and writes nothing
  --help
`;

const ENGINES = ['native', 'wasm'] as const satisfies readonly Engine[];
const SIDES = ['256', '512'] as const;
const SECTIONS = ['mathematics', 'requests', 'streams', 'money', 'rows', 'memory', 'cpu', 'page'] as const;
const MIN_ROUNDS = 3;

/** One section of the document. */
export type Section = (typeof SECTIONS)[number];

export interface BenchOptions {
  readonly engines: readonly Engine[];
  /** of square pictures, pixels */
  readonly sides: readonly number[];
  /** where a picture takes least; see roundsOf */
  readonly rounds: number;
  /** what alone is measured; null: everything */
  readonly only: Section | null;
}

/** What `args` ask for, everything where they are empty; null when they ask for help. Throws UsageError. */
export function parseOptions(args: readonly string[]): BenchOptions | null {
  const { values } = readFlags(args, {
    options: {
      engine: { type: 'string', multiple: true, default: [...ENGINES] },
      side: { type: 'string', multiple: true, default: [...SIDES] },
      rounds: { type: 'string', default: '15' },
      only: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return null;
  return {
    engines: values.engine.map((name) => oneOf('--engine', name, ENGINES)),
    sides: values.side.map((side) => Number(oneOf('--side', side, SIDES))),
    rounds: wholeNumber('--rounds', values.rounds, { min: MIN_ROUNDS }),
    only: values.only === undefined ? null : oneOf('--only', values.only, SECTIONS),
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
