/**
 * The local stack as a process of its own, for the rig to kill: options from the JSON file named in the argument, one
 * ready line on standard output.
 */
import { readFile } from 'node:fs/promises';
import { type StackOptions, startStack } from '../../scripts/local/stack.ts';

const options = JSON.parse(await readFile(process.argv[2] as string, 'utf8')) as StackOptions;
const { url, key, adminKey, startup } = await startStack({
  ...options,
  onLog: (line, from) => console.error(`[${from}] ${line}`),
});
console.log(JSON.stringify({ event: 'ready', url, key, adminKey, startup }));
