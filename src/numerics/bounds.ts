/**
 * Refusals at the edge of the numerics: each returns the value it was given, or throws a RangeError naming field, value
 * and rule. Pure.
 */

/** `value` when it is a finite number in [min, max]; RangeError otherwise, NaN included. */
export function requireNumber(field: string, value: number, min: number, max: number): number {
  if (!(value >= min && value <= max) || !Number.isFinite(value))
    throw new RangeError(`${field} is ${value}; expected a number from ${min} to ${max}`);
  return value;
}

/** `value` when it is a whole number in [min, max]; RangeError otherwise. */
export function requireInteger(field: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max)
    throw new RangeError(`${field} is ${value}; expected a whole number from ${min} to ${max}`);
  return value;
}

/** `value` when it is a finite number above 0; RangeError otherwise. */
export function requirePositive(field: string, value: number): number {
  if (!(value > 0) || !Number.isFinite(value))
    throw new RangeError(`${field} is ${value}; expected a finite number above 0`);
  return value;
}

/** Nothing, when an array called `field` has `expected` entries; RangeError otherwise. */
export function requireLength(field: string, length: number, expected: number): void {
  if (length !== expected) throw new RangeError(`${field} has ${length} entries; expected ${expected}`);
}
