/** What money adds to a request: opening with a key, holding, charging; in local workerd, its databases on disk. */
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { median } from './median.ts';
import type { Ask } from './money-ask.ts';

const STEPS = ['authenticate', 'hold', 'settle'] as const;
type Timed = (typeof STEPS)[number] | 'nothing';

/** Median milliseconds of each step over the way there and back alone, and of all of them together. */
export interface MoneyTimes {
  readonly authenticate: number;
  readonly hold: number;
  readonly settle: number;
  readonly together: number;
  /** the way there and back, which is taken off */
  readonly nothing: number;
}

/** What a job costs one account's object, which does one thing at a time. */
export interface AccountCeiling {
  /** CPU milliseconds of a whole job: entered, begun, charged, forgotten, so four requests; their sender's too */
  readonly cpuPerJob: number;
}

/** Linux counts CPU time in hundredths of a second. */
const TICK_MS = 10;

/** CPU milliseconds that the runtimes started by this process have used. Linux only. */
function runtimeCpu(): number {
  const children = readdirSync('/proc').flatMap((pid): number[] => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      // the name stands in parentheses and may have spaces; state, parent, … user and system time follow it
      const [, name = '', rest = ''] = /\((.*)\) (.*)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
      const fields = rest.split(' ');
      if (!name.startsWith('workerd') || Number(fields[1]) !== process.pid) return [];
      return [(Number(fields[11]) + Number(fields[12])) * TICK_MS];
    } catch {
      // it has ended meanwhile
      return [];
    }
  });
  return children.reduce((sum, of) => sum + of, 0);
}

/** jobs of a crowd, and how many crowds are timed */
const CROWD = 200;
const CROWDS = 10;

/** Medians of the steps. Law: what every request of a round takes alike is in none of them. */
export function moneyTimes(rounds: readonly Readonly<Record<Timed, number>>[]): MoneyTimes {
  const nothing = median(rounds.map((round) => round.nothing));
  const over = (step: (typeof STEPS)[number]): number => median(rounds.map((round) => round[step] - round.nothing));
  const together = median(rounds.map((round) => STEPS.reduce((sum, step) => sum + round[step] - round.nothing, 0)));
  return { authenticate: over('authenticate'), hold: over('hold'), settle: over('settle'), together, nothing };
}

/**
 * Medians of `requests` requests, each step a call of its own, after ten that are not counted; and of crowds of jobs of
 * one account at once.
 */
export async function benchMoney(requests: number): Promise<MoneyTimes & AccountCeiling> {
  const bundle = await build({
    entryPoints: [fileURLToPath(new URL('./money-workerd.ts', import.meta.url))],
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2024',
    external: ['cloudflare:*'],
  });
  const folder = await mkdtemp(join(tmpdir(), 'ralu-bench-'));
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      cf: false,
      telemetry: { enabled: false },
      compatibilityDate: '2026-11-01',
      modules: [{ type: 'ESModule', path: 'index.js', contents: bundle.outputFiles[0]?.text ?? '' }],
      durableObjects: {
        ACCOUNTS: { className: 'AccountObject', useSQLite: true },
        DIRECTORY: { className: 'DirectoryObject', useSQLite: true },
      },
      durableObjectsPersist: folder,
      bindings: { SIGNING_SECRET: 'bench-signing-secret-with-32-bytes-or-more' },
    }),
  );
  try {
    const url = await miniflare.ready;
    const ask = async (what: Ask): Promise<Omit<Ask, 'step'>> => {
      const response = await fetch(url, { method: 'POST', body: JSON.stringify(what) });
      if (!response.ok) throw new Error(await response.text());
      return (await response.json()) as Omit<Ask, 'step'>;
    };
    const opened = await ask({ step: 'open' });
    const rounds: Record<Timed, number>[] = [];
    for (let round = -10; round < requests; round++) {
      const times: Record<Timed, number> = { nothing: 0, authenticate: 0, hold: 0, settle: 0 };
      let job = {};
      for (const step of ['nothing', ...STEPS] as const) {
        const begin = performance.now();
        const answer = await ask({ ...opened, ...job, step });
        times[step] = performance.now() - begin;
        if (step === 'hold') job = answer;
      }
      if (round >= 0) rounds.push(times);
    }
    const crowds: number[] = [];
    for (let crowd = 0; crowd < CROWDS; crowd++) {
      const begin = runtimeCpu();
      await ask({ ...opened, step: 'crowd', jobs: CROWD });
      crowds.push((runtimeCpu() - begin) / CROWD);
    }
    return { ...moneyTimes(rounds), cpuPerJob: median(crowds) };
  } finally {
    await miniflare.dispose();
    await rm(folder, { recursive: true, force: true });
  }
}
