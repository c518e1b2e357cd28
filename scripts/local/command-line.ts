/**
 * The command line that every command here has: `--help`, and for arguments that make no sense one sentence and exit
 * code 2.
 */
import { type ParseArgsConfig, parseArgs } from 'node:util';

/** Exit code of a usage error. */
export const USAGE = 2;

/** Arguments that make no sense. The message is one sentence for the person who typed them: flag, value and rule. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** `parseArgs` of Node for `args`. Throws UsageError for a flag that does not exist or lacks its value. */
export function readFlags<const T extends ParseArgsConfig>(args: readonly string[], config: T) {
  try {
    return parseArgs({ ...config, args: [...args] });
  } catch (error) {
    // its first sentence names the flag; the hints after it only confuse here
    throw new UsageError((error as Error).message.split(/\.\s/)[0]);
  }
}

/** The member of `all` that `text` is. Throws UsageError. */
export function oneOf<T extends string>(flag: string, text: string, all: readonly T[]): T {
  const found = all.find((one) => one === text);
  if (found === undefined) throw new UsageError(`${flag} must be ${all.join(' or ')}, got "${text}"`);
  return found;
}

/** The number that `text` is. Throws UsageError. */
export function number(flag: string, text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new UsageError(`${flag} must be a number, got "${text}"`);
  return value;
}

/** The whole number from `min` to `max` that `text` is. Throws UsageError. */
export function wholeNumber(flag: string, text: string, { min, max }: { min: number; max?: number }): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isSafeInteger(value) || value < min || (max !== undefined && value > max))
    throw new UsageError(
      `${flag} must be a whole number from ${min}${max === undefined ? '' : ` to ${max}`}, got "${text}"`,
    );
  return value;
}

/** `256x512` in pixels. Throws UsageError. */
export function pixelSize(flag: string, text: string): { width: number; height: number } {
  const match = /^(\d+)[x×](\d+)$/i.exec(text);
  if (!match) throw new UsageError(`${flag} must look like 256x256, got "${text}"`);
  return { width: Number(match[1]), height: Number(match[2]) };
}

/**
 * Runs a command on this process's arguments. `parse` gives null when help is asked for; `run` resolves to the exit
 * code. A UsageError of either ends the process with USAGE and one sentence, any other error is the program's own.
 */
export async function runCommand<T>({
  command,
  help,
  parse,
  run,
}: {
  /** as it is typed: `npm run generate` */
  readonly command: string;
  readonly help: string;
  readonly parse: (args: readonly string[]) => T | null;
  readonly run: (options: T) => Promise<number>;
}): Promise<void> {
  try {
    const options = parse(process.argv.slice(2));
    if (options === null) process.stdout.write(help);
    else process.exitCode = await run(options);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${command.split(' ').at(-1)}: ${error.message}\nSee ${command} -- --help\n`);
    process.exitCode = USAGE;
  }
}
