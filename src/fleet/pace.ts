/** How fast a stage server works, as its outcomes tell. Pure. */

/** Time in which a server had stages, and the work it finished in that time; older work counts less. */
export interface Pace {
  readonly ms: number;
  readonly tflops: number;
  /** when it was last heard of, milliseconds since 1970 */
  readonly at: number;
}

/** What older work still counts each time a stage is added. */
const KEPT = 0.7;
/** A pace that nobody has measured for so long is forgotten: the server may be another by now, and is tried again. */
const FORGOTTEN_MS = 120_000;

/** The pace after `tflops` more in `ms` more; work that came to nothing has 0 `tflops`. */
export const addWork = (
  pace: Pace | null,
  { ms, tflops }: { readonly ms: number; readonly tflops: number },
  now: number,
): Pace => ({ ms: (pace?.ms ?? 0) * KEPT + ms, tflops: (pace?.tflops ?? 0) * KEPT + tflops, at: now });

/**
 * Milliseconds a TFLOP; null where nobody knows, or not any more. Of a server that only wasted time nothing is
 * expected, for twice the time that it wasted.
 */
export function paceAt(pace: Pace | null, now: number): number | null {
  if (!pace || now - pace.at > (pace.tflops > 0 ? FORGOTTEN_MS : Math.min(FORGOTTEN_MS, 2 * pace.ms))) return null;
  return pace.tflops > 0 ? pace.ms / pace.tflops : Number.POSITIVE_INFINITY;
}
