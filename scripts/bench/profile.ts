/** A CPU profile of V8 in milliseconds. Pure. */

/** As the inspector tells it: https://chromedevtools.github.io/devtools-protocol/v8/Profiler/#type-Profile */
export interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string };
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  /** microseconds before each sample */
  readonly timeDeltas: readonly number[];
}

/** Milliseconds of a profile. */
export interface ProfileTimes {
  /** all JavaScript and what it calls, garbage collection included; neither idle nor outside of JavaScript */
  readonly busy: number;
  readonly garbage: number;
  /** functions of these names, and all that they call */
  readonly within: number;
}

/** Nodes of V8's own that are no work of the program: idle, and outside of JavaScript. */
const OUTSIDE = new Set(['(idle)', '(program)', '(root)']);

/**
 * Sums a profile; `names` are the functions that count as `within`. A sample counts for at most `longestUs`: while the
 * isolate is left none is taken, and the next one would count for the pause. Law: no sample counts twice.
 */
export function sumProfile(
  { nodes, samples, timeDeltas }: Profile,
  names: ReadonlySet<string>,
  longestUs: number,
): ProfileTimes {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const own = new Map<number, number>();
  for (const [i, id] of samples.entries())
    own.set(id, (own.get(id) ?? 0) + Math.min(longestUs, timeDeltas[i] ?? 0) / 1000);
  const sums = { busy: 0, garbage: 0, within: 0 };
  const visit = (id: number, isWithin: boolean): void => {
    const node = byId.get(id);
    if (!node) return;
    const { functionName } = node.callFrame;
    const isNow = isWithin || names.has(functionName);
    const ms = own.get(id) ?? 0;
    if (!OUTSIDE.has(functionName)) sums.busy += ms;
    if (functionName === '(garbage collector)') sums.garbage += ms;
    if (isNow) sums.within += ms;
    for (const child of node.children ?? []) visit(child, isNow);
  };
  const [root] = nodes;
  if (root) visit(root.id, false);
  return sums;
}
