/** `npm run admin`: the accounts of a deployment, ruled with its admin key, and its fleet. */
import { type AdminOptions, HELP, parseOptions } from './admin/options.ts';
import { carryOut } from './admin/orders.ts';
import { Refused, Unreachable } from './generate/client.ts';
import { runCommand } from './local/command-line.ts';

/** The exit code: 0, or 1 with a sentence where the deployment says no or nothing, or books differ. */
async function admin({ service, order, json }: AdminOptions): Promise<number> {
  try {
    const { answer, sentences, exitCode = 0 } = await carryOut(service, order);
    console.log(json ? JSON.stringify(answer, null, 2) : sentences.join('\n') || 'none');
    return exitCode;
  } catch (error) {
    if (json && error instanceof Refused)
      console.log(JSON.stringify({ status: error.status, code: error.code, detail: error.message }, null, 2));
    console.error(`admin: ${sentenceOf(error)}`);
    return 1;
  }
}

function sentenceOf(error: unknown): string {
  if (error instanceof Refused) return `${error.message} (${error.status} ${error.code})`;
  if (error instanceof Unreachable) return error.message;
  if (error instanceof DOMException && error.name === 'TimeoutError') return 'the deployment did not answer in time';
  return error instanceof Error ? error.message : String(error);
}

await runCommand({
  command: 'npm run admin',
  help: HELP,
  parse: (args) => parseOptions(args, process.env),
  run: admin,
});
