/** Prompts from a file that the user gives, such as GenEval's evaluation_metadata.jsonl. */
import { readFileSync, statSync } from 'node:fs';
import { UsageError } from '../../../scripts/local/command-line.ts';

export interface DeployedPrompt {
  /** its line in the file, from 0, without blank lines */
  readonly index: number;
  readonly prompt: string;
  /** the whole line, for whoever evaluates the pictures */
  readonly line: string;
}

const MOST_BYTES = 16 * 2 ** 20;
const MOST_PROMPTS = 10_000;
const MOST_CHARACTERS = 32_000;

/** The prompts in `text`, one JSON object a line. Throws UsageError naming file, line, field and rule. */
export function parsePrompts(file: string, text: string): DeployedPrompt[] {
  const wrong = (line: number, rule: string): UsageError => new UsageError(`--prompts: ${file}, line ${line}: ${rule}`);
  const prompts: DeployedPrompt[] = [];
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    if (prompts.length === MOST_PROMPTS) throw wrong(i + 1, `at most ${MOST_PROMPTS} prompts are taken`);
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      throw wrong(i + 1, 'must be one JSON object');
    }
    const prompt = (value as { prompt?: unknown } | null)?.prompt;
    if (typeof prompt !== 'string' || prompt.trim() === '' || prompt.length > MOST_CHARACTERS)
      throw wrong(i + 1, `prompt must be text, not blank, of at most ${MOST_CHARACTERS} characters`);
    prompts.push({ index: prompts.length, prompt, line });
  }
  if (prompts.length === 0) throw new UsageError(`--prompts: ${file} has no prompt`);
  return prompts;
}

/** The prompts in a file. Throws UsageError also where it cannot be read. */
export function readPrompts(file: string): DeployedPrompt[] {
  try {
    const { size } = statSync(file);
    if (size > MOST_BYTES) throw new UsageError(`--prompts: ${file} has ${size} bytes, at most ${MOST_BYTES} are read`);
    return parsePrompts(file, readFileSync(file, 'utf8'));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`--prompts: ${file} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}
