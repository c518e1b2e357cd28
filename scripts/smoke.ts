/** `npm run smoke`: a walk through a deployment from health to erasing, and a sentence about whatever is wrong. */
import { runCommand } from './local/command-line.ts';
import { HELP, parseOptions, type SmokeOptions } from './smoke/options.ts';
import { explain, planWalk, type Step } from './smoke/walk.ts';

/** How long a step may take to say what it was waiting for when its time is over. */
const GRACE_MS = 1000;

/** One step within its time; whether it went well. What it says is printed. */
async function take({ name, seconds, run }: Step): Promise<boolean> {
  const began = performance.now();
  const say = (verdict: string, sentence: string): void => {
    const took = `${((performance.now() - began) / 1000).toFixed(2)} s`;
    console.log(`${verdict.padEnd(5)} ${name.padEnd(8)} ${took.padStart(9)}  ${sentence}`);
  };
  const signal = AbortSignal.timeout(seconds * 1000);
  // the step itself can say better what it was waiting for, if it heeds the signal
  const tooLate = new Promise<never>((_, reject) =>
    signal.addEventListener('abort', () => setTimeout(() => reject(signal.reason), GRACE_MS), { once: true }),
  );
  try {
    say('ok', await Promise.race([run(signal), tooLate]));
    return true;
  } catch (error) {
    const isLate = error === signal.reason;
    const { sentence, advice } = isLate
      ? { sentence: `no end after ${seconds} s`, advice: '`npx wrangler tail` shows what the Worker does meanwhile.' }
      : explain(error);
    say('FAIL', sentence);
    console.log(`      do: ${advice}`);
    return false;
  }
}

/** The exit code: 0 where every step went well. */
async function smoke(options: SmokeOptions): Promise<number> {
  const { steps, cleanUp } = planWalk(options);
  let failed = 0;
  for (const step of steps) {
    if (await take(step)) continue;
    failed += 1;
    if (step.isNeeded) break;
  }
  await cleanUp();
  console.log(failed === 0 ? '\nall is well' : `\n${failed === 1 ? 'one step' : `${failed} steps`} failed`);
  return failed === 0 ? 0 : 1;
}

await runCommand({
  command: 'npm run smoke',
  help: HELP,
  parse: (args) => parseOptions(args, process.env),
  run: smoke,
});
