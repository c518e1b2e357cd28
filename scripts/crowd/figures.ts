/** Figures of a crowd. Pure. */

/** The value below which a share `q` of them lies, by the nearest rank; NaN of none. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN;
}

/**
 * Spearman's rank correlation of pairs, without ties: 1 where both are in one order, -1 where they are in opposite
 * ones, about 0 where neither tells of the other. NaN of fewer than two.
 */
export function rankCorrelation(pairs: readonly (readonly [number, number])[]): number {
  const n = pairs.length;
  const ranks = (values: readonly number[]): number[] => {
    const order = values.map((value, at) => ({ value, at })).sort((a, b) => a.value - b.value);
    const rank: number[] = [];
    for (const [place, { at }] of order.entries()) rank[at] = place;
    return rank;
  };
  const first = ranks(pairs.map(([a]) => a));
  const second = ranks(pairs.map(([, b]) => b));
  const squares = first.reduce((sum, rank, i) => sum + (rank - (second[i] as number)) ** 2, 0);
  return n < 2 ? Number.NaN : 1 - (6 * squares) / (n * (n * n - 1));
}

/** Milliseconds as seconds with two digits. */
export const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;

/** Lines of columns, each as wide as its widest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
