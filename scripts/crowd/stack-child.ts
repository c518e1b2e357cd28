/**
 * The local stack without a stage server of its own, as a process to kill: options from the JSON file that the argument
 * names, one ready line on standard output.
 */
import { readFile } from 'node:fs/promises';
import { flushCompileCache } from 'node:module';
import { type StackOptions, startStack } from '../local/stack.ts';

const options = JSON.parse(await readFile(process.argv[2] as string, 'utf8')) as StackOptions;
const { adminKey } = await startStack({ ...options, onLog: (line) => console.error(line) });
console.log(JSON.stringify({ event: 'ready', adminKey }));
// the next start reads what this one compiled; killed, it would not be kept
flushCompileCache();
