/** The six tasks, in the order of the tables. */

const TITLES: Readonly<Record<string, string>> = {
  single: 'single object',
  two: 'two objects',
  counting: 'counting',
  background: 'background colour',
  position: 'position',
  attribution: 'colour attribution',
};

/**
 * The hard tasks: single objects and backgrounds are right in nearly every picture, so only in these can rows differ.
 */
export const HARD: ReadonlySet<string> = new Set(['two', 'counting', 'position', 'attribution']);

/** The task in words; a task that is not known stays as it is. */
export const titleOf = (task: string): string => TITLES[task] ?? task;

/** The tasks of `present` in the order of the tables, unknown ones last. */
export function inOrder(present: Iterable<string>): string[] {
  const order = Object.keys(TITLES);
  const place = (task: string): number => (order.includes(task) ? order.indexOf(task) : order.length);
  return [...new Set(present)].sort((a, b) => place(a) - place(b));
}
