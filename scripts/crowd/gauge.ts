/** What is measured of a deployment while a crowd goes on: rows that its objects write, and memory that it holds. */
import { type Counted, costOf } from '../bench/tally.ts';
import type { Deployment } from './deployment.ts';
import { quantile } from './figures.ts';
import type { Memory } from './laws.ts';

/** How often it looks. What a killed Worker had counted since the last look is lost. */
const LOOK_MS = 5_000;
/** Each so many looks the isolate's garbage is collected, and what it holds is told. */
const EACH = 6;
/** Looks at memory without which nothing is said of it: three minutes. */
const MIN_LOOKS = 6;

interface Look {
  readonly bytes: number;
  readonly jobs: number;
}

export interface Gauge {
  /** Looks now: the Worker is about to be killed. */
  look(): Promise<void>;
  /** Ends it; rows are null where the Worker was not made to count them. */
  stop(): Promise<{ readonly rows: number | null; readonly memory: Memory | null }>;
}

/** Begins to measure; `jobs` says how many have ended. */
export function startGauge(deployment: Deployment, jobs: () => number): Gauge {
  let rows: number | null = null;
  let starts = deployment.starts();
  /** of the runtime that runs now */
  let looks: Look[] = [];
  let count = 0;

  async function look(): Promise<void> {
    const written = await rowsWritten(deployment);
    if (written !== null) rows = (rows ?? 0) + written;
    if (starts !== deployment.starts()) {
      starts = deployment.starts();
      looks = [];
    }
    const bytes = count++ % EACH === 0 ? await deployment.heldBytes() : null;
    if (bytes !== null) looks.push({ bytes, jobs: jobs() });
  }
  let looking = Promise.resolve();
  const next = (): Promise<void> => {
    looking = looking.then(look);
    return looking;
  };
  const timer = setInterval(() => void next(), LOOK_MS);
  return {
    look: next,
    async stop() {
      clearInterval(timer);
      await next();
      return { rows, memory: memoryOf(looks) };
    },
  };
}

/** Medians of the second quarter of the looks, and of the last one; null of too few. */
function memoryOf(looks: readonly Look[]): Memory | null {
  if (looks.length < MIN_LOOKS) return null;
  const quarter = Math.floor(looks.length / 4);
  const [first, last] = [looks.slice(quarter, 2 * quarter), looks.slice(-quarter)];
  const median = (some: readonly Look[], of: (look: Look) => number): number => quantile(some.map(of), 0.5);
  return {
    firstBytes: median(first, ({ bytes }) => bytes),
    lastBytes: median(last, ({ bytes }) => bytes),
    jobs: median(last, (one) => one.jobs) - median(first, (one) => one.jobs),
  };
}

/** Rows that its objects have written since this was last asked; null where it does not count them, or is away. */
async function rowsWritten({ url }: Deployment): Promise<number | null> {
  try {
    const response = await fetch(new URL('/rows', url), { signal: AbortSignal.timeout(LOOK_MS) });
    if (!response.ok) return null;
    const { tallies } = (await response.json()) as Counted;
    return Object.values(tallies).reduce((sum, tally) => sum + costOf(tally, 1).written, 0);
  } catch {
    return null;
  }
}
