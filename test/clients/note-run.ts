/** Which modules of Python each test ran. */
import { expect } from 'vitest';

/** by the full name of a test */
const noted = new Map<string, Set<string>>();

/** Notes what the test that runs now runs in Python. */
export function noteRun(modules: readonly string[]): void {
  const { currentTestName = '' } = expect.getState();
  const known = noted.get(currentTestName) ?? new Set();
  for (const each of modules) known.add(`pypi:${each}`);
  noted.set(currentTestName, known);
}

/** What the test of this name ran, and what was run before any test. */
export const notedOf = (name: string): readonly string[] => [...(noted.get(name) ?? []), ...(noted.get('') ?? [])];
