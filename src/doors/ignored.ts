/**
 * Fields that clients of other services send and that change nothing here: taken, and told in a warning. What would
 * surprise if it were ignored is no such field, and is refused. Pure.
 */

/** Why a field changes nothing. */
export interface IgnoredField {
  /** as in `style is ignored: the models have no styles` */
  readonly why: string;
  /** values that ask for what happens anyway: nothing is said of them */
  readonly anyway?: readonly unknown[];
}
export type IgnoredFields = Readonly<Record<string, IgnoredField>>;

/** A warning for each field of a body that asks for what it does not get. Null asks for nothing. */
export function ignoredIn(body: object, fields: IgnoredFields): readonly string[] {
  return Object.entries(fields).flatMap(([field, { why, anyway = [] }]) => {
    const value = Object.hasOwn(body, field) ? (body as Readonly<Record<string, unknown>>)[field] : null;
    return value === null || value === undefined || anyway.includes(value) ? [] : [`${field} is ignored: ${why}`];
  });
}
