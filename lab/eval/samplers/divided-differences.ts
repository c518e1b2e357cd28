/** Newton's interpolation of velocities over sigma, at places as they come. Pure. */

/** The evaluations so far, the last one first: where each was, and the divided difference from the last down to it. */
export type DividedDifferences = readonly { readonly place: number; readonly difference: Float32Array }[];

/** The same with one more evaluation, up to the difference of this order. */
export function divide(
  known: DividedDifferences,
  velocity: Float32Array,
  place: number,
  order: number,
): DividedDifferences {
  const next = [{ place, difference: velocity }];
  for (const [i, before] of known.slice(0, order).entries()) {
    const { difference } = next[i]!;
    next.push({
      place: before.place,
      difference: difference.map((value, n) => (value - before.difference[n]!) / (place - before.place)),
    });
  }
  return next;
}

/** The velocity at `place`, a new array. Law: exact for polynomials of a degree below the number of entries. */
export function extrapolate(known: DividedDifferences, place: number): Float32Array {
  const total = known[0]!.difference.slice();
  let factor = 1;
  for (const [i, { difference }] of known.entries()) {
    if (i === 0) continue;
    factor *= place - known[i - 1]!.place;
    for (let n = 0; n < total.length; n++) total[n] = total[n]! + factor * difference[n]!;
  }
  return total;
}
