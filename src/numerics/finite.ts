/**
 * The index of the first value that is NaN or infinite; -1 where all are finite.
 *
 * A plain loop: `findIndex` and `every` of a typed array call their function for each value, which takes some twenty
 * times as long. Latents are a quarter of a million values.
 */
export function firstNotFinite(values: Float32Array): number {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) return i;
  return -1;
}
