/** Tables of Markdown, and how figures stand in them. Pure. */

const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

/** A table whose first column is text and whose others are numbers. */
export const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [row(head), row(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(row)].join('\n');

/** Milliseconds, one decimal where they are few. */
export const ms = (value: number): string => (value < 10 ? value.toFixed(1) : value.toFixed(0));
