/**
 * The method once more, from its formulas, one token after the other in float64, without a line of the product: what
 * the story is held against, itself held to the golden trajectories. Slow and plain on purpose.
 */

export interface OracleToken {
  readonly row: number;
  readonly col: number;
  readonly isLow: boolean;
  readonly values: readonly number[];
}

export interface OracleRun {
  readonly steps: readonly number[];
  readonly ends: readonly number[];
  readonly shifts: readonly number[];
  readonly z: readonly number[];
  /** rows and columns of the first stage's grid */
  readonly rows: number;
  readonly cols: number;
  /** for each boundary but the last: places, ascending, in the tokens that the stage before hands over */
  readonly selections: readonly (readonly number[])[];
  readonly mode: 'latent' | 'token';
  readonly referenceVariance: boolean;
  readonly solver: 'euler' | 'ab2';
  /** by Euler alone; null evaluates every step */
  readonly cache: { readonly warmup: number; readonly interval: number; readonly order: number } | null;
  /**
   * standard normals of one token, as many as it has values: for the first stage (0), and for each boundary (1, 2, …).
   * A token is told by its number in the list of noise and by its place, counted in full tokens of the final grid
   */
  readonly noise: (
    stream: number,
    token: { readonly index: number; readonly row: number; readonly col: number },
  ) => ArrayLike<number>;
  /** of one value of a token at (row, col) */
  readonly velocity: (x: number, sigma: number, row: number, col: number) => number;
}

export interface OracleStage {
  readonly sigmas: readonly number[];
  readonly before: readonly OracleToken[];
  readonly after: readonly OracleToken[];
}

const CHILDREN = [
  [0, 0],
  [0, 0.5],
  [0.5, 0],
  [0.5, 0.5],
] as const;

/** Every stage: its noise levels, and its tokens at both ends. */
export function walkOracle(run: OracleRun): OracleStage[] {
  const { steps, ends, shifts, z, rows, cols, noise } = run;
  const isPlain = steps.length === 1;
  let tokens: OracleToken[] = Array.from({ length: rows * cols }, (_, n) => {
    const [row, col] = [Math.floor(n / cols), n % cols];
    const side = isPlain ? 1 : 2;
    return {
      row,
      col,
      isLow: !isPlain,
      values: Array.from(noise(0, { index: n, row: side * row, col: side * col })),
    };
  });
  return steps.map((count, k) => {
    const before = ends[k - 1];
    const start = before === undefined ? 0 : before / (z[k - 1]! * (1 - before) + before);
    if (k > 0) tokens = cross(run, k, tokens);
    const sigmas = levels({ start, end: ends[k]!, count, shift: shifts[k]! });
    const stage = { sigmas, before: tokens };
    let former: number[][] | null = null;
    const evaluated: Evaluation[] = [];
    for (let i = 0; i < count; i++) {
      const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!];
      const isForecast = run.cache && i >= run.cache.warmup && (i + 1 - run.cache.warmup) % run.cache.interval > 0;
      const now = tokens.map(({ values, row, col }, n) =>
        values.map((x, j) => (isForecast ? forecast(run, evaluated, i, [n, j]) : run.velocity(x, sigma, row, col))),
      );
      if (!isForecast) evaluated.push({ step: i, velocities: now });
      // 0 for Euler, and for the first step of a stage
      const rho = run.solver === 'ab2' && former ? (next - sigma) / (sigma - sigmas[i - 1]!) : 0;
      tokens = tokens.map((token, n) => ({
        ...token,
        values: token.values.map((x, j) => {
          const v = now[n]![j]!;
          return x + (next - sigma) * (v + (rho / 2) * (v - (former?.[n]?.[j] ?? v)));
        }),
      }));
      former = now;
    }
    return { ...stage, after: tokens };
  });
}

interface Evaluation {
  readonly step: number;
  /** [tokens][values] */
  readonly velocities: readonly (readonly number[])[];
}

/** Σ D_i j^i / i! of one value, j steps after the last evaluation, up to the order or as far as evaluations reach. */
function forecast({ cache }: OracleRun, evaluated: readonly Evaluation[], at: number, [n, j]: [number, number]) {
  const last = evaluated.length - 1;
  const difference = (i: number, m: number): number =>
    i === 0
      ? evaluated[m]!.velocities[n]![j]!
      : (difference(i - 1, m) - difference(i - 1, m - 1)) / (evaluated[m]!.step - evaluated[m - 1]!.step);
  let sum = 0;
  let weight = 1;
  for (let i = 0; i <= Math.min(cache!.order, last); i++) {
    if (i > 0) weight *= (at - evaluated[last]!.step) / i;
    sum += weight * difference(i, last);
  }
  return sum;
}

/** u(sigma) = sigma / (h - (h - 1) sigma), evenly from one end to the other, and back by h u / (1 + (h - 1) u). */
function levels({ start, end, count, shift: h }: { start: number; end: number; count: number; shift: number }) {
  const u = (sigma: number) => sigma / (h - (h - 1) * sigma);
  return Array.from({ length: count + 1 }, (_, i) => {
    const at = u(1 - start) + ((u(1 - end) - u(1 - start)) * i) / count;
    return (h * at) / (1 + (h - 1) * at);
  });
}

/** The boundary before stage k + 1: x ← a Up(x) + b z. */
function cross(run: OracleRun, k: number, tokens: readonly OracleToken[]): OracleToken[] {
  const { ends, z, mode, selections, noise, referenceVariance } = run;
  const isLast = k === run.steps.length - 1;
  const e = ends[k - 1]!;
  const strength = z[k - 1]!;
  const d = strength * (1 - e);
  const [a, b, c] = [1 / (d + e), d / (d + e), 1 / strength ** 2];

  const isChosen = (token: OracleToken, n: number) => (isLast ? token.isLow : selections[k - 1]!.includes(n));
  const kept = tokens.filter((token, n) => !isChosen(token, n));
  const parents = tokens.filter(isChosen);
  // noise is listed for the tokens kept, then the children; before the last stage the children come first
  const [keptFrom, childrenFrom] = isLast ? [4 * parents.length, 0] : [0, kept.length];
  const white = (index: number, row: number, col: number) => noise(k, { index, row: 2 * row, col: 2 * col });

  const keptDeviation = referenceVariance ? 1 : Math.sqrt(1 - c);
  const after = kept.map((token, n) => {
    const own = white(keptFrom + n, token.row, token.col);
    return { ...token, values: token.values.map((x, i) => a * x + b * keptDeviation * own[i]!) };
  });
  const share = (1 - Math.sqrt(1 - 4 * c)) / 4;
  for (const [n, parent] of parents.entries()) {
    const ofChildren = CHILDREN.map(([down, right], child) =>
      white(childrenFrom + 4 * n + child, parent.row + down, parent.col + right),
    );
    const own = (child: number, i: number) => ofChildren[child]![i]!;
    for (const [child, [down, right]] of CHILDREN.entries()) {
      const values = parent.values.map((x, i) => {
        const channel = i - (i % 4);
        // latent: the four slots of the channel in this child are one pixel of the parent; token: the same slot of the
        // four children repeats the parent's
        const group = [0, 1, 2, 3].map((j) => (mode === 'latent' ? own(child, channel + j) : own(j, i)));
        const source = mode === 'latent' ? parent.values[channel + child]! : x;
        return a * source + b * (own(child, i) - share * group.reduce((sum, value) => sum + value, 0));
      });
      after.push({ row: parent.row + down, col: parent.col + right, isLow: false, values });
    }
  }
  if (!isLast) return after;
  return after
    .map((token) => ({ ...token, row: 2 * token.row, col: 2 * token.col }))
    .sort((one, other) => one.row - other.row || one.col - other.col);
}
