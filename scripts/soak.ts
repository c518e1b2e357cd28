/** `npm run soak`: the laws of the ledger over as many random histories as are asked for, or crowds of jobs. */
import { registerHooks } from 'node:module';
import { soakCrowds } from './crowd/soak.ts';
import { runCommand } from './local/command-line.ts';
import { runHistory, shortestPrefix } from './soak/history.ts';
import { loadProduct } from './soak/objects.ts';
import { HELP, parseOptions, type SoakOptions } from './soak/options.ts';

/** Between two lines that say how far it is. */
const REPORT_MS = 10_000;

async function soak({ histories, seed, crowd }: SoakOptions): Promise<number> {
  if (crowd) return soakCrowds({ ...crowd, seed });
  const workers = new URL('./soak/workers.ts', import.meta.url).href;
  registerHooks({
    resolve: (name, context, next) =>
      name === 'cloudflare:workers'
        ? { url: workers, format: 'module-typescript', shortCircuit: true }
        : next(name, context),
  });
  const product = await loadProduct();
  const memo = new Map();
  const sums = { operations: 0, kills: 0, checks: 0, done: 0 };
  const begin = performance.now();
  let reportedAt = begin;
  const report = (count: number): void => {
    const seconds = ((performance.now() - begin) / 1000).toFixed(1);
    const { operations, kills, checks, done } = sums;
    console.log(
      `${count} histories, ${operations} operations, ${done} jobs done, ${kills} crashes, ${checks} looks at the laws, ${seconds} s`,
    );
  };
  for (let i = 0; i < histories; i++) {
    const history = await runHistory((seed + i) % 2 ** 32, product, memo);
    sums.operations += history.operations.length;
    sums.kills += history.kills;
    sums.checks += history.checks;
    sums.done += history.done;
    if (history.violation) {
      report(i + 1);
      const shortest = (await shortestPrefix(history.seed, product, memo, history)) ?? history;
      console.log(
        `seed ${history.seed}, after ${shortest.operations.length} operations: ${shortest.violation?.message}`,
      );
      for (const line of shortest.operations) console.log(`  ${line}`);
      return 1;
    }
    if (performance.now() - reportedAt > REPORT_MS) {
      reportedAt = performance.now();
      report(i + 1);
    }
  }
  report(histories);
  return 0;
}

await runCommand({ command: 'npm run soak', help: HELP, parse: parseOptions, run: soak });
