/**
 * How large the parts of a JSON body may be: bounds that no request of ours comes near, checked before any contract, so
 * that what a contract can find fault with is bounded too. Pure.
 */
import { WHOLE_BODY } from '../doors/problem.ts';
import type { Refusal } from '../job/schedule-request.ts';

/** lists and objects inside each other; no request has more than four */
const MAX_DEPTH = 16;
/** values of one list, and fields of one object */
export const MAX_VALUES = 100;
/** values of all lists and objects together */
const MAX_TOGETHER = 1000;

/** Why the shape of a body is refused, by the first part that is too large; null where none is. */
export function refuseShape(body: unknown): Refusal | null {
  let together = 0;

  const refuseIn = (value: unknown, path: string, depth: number): Refusal | null => {
    if (typeof value !== 'object' || value === null) return null;
    const field = path === '' ? WHOLE_BODY : path;
    if (depth === MAX_DEPTH)
      return { field: WHOLE_BODY, value: undefined, rule: `must be at most ${MAX_DEPTH} levels deep` };
    const entries = Object.entries(value);
    const kind = Array.isArray(value) ? 'values' : 'fields';
    if (entries.length > MAX_VALUES)
      return { field, value: `(${entries.length} ${kind})`, rule: `must have at most ${MAX_VALUES} ${kind}` };
    together += entries.length;
    if (together > MAX_TOGETHER)
      return { field: WHOLE_BODY, value: undefined, rule: `must have at most ${MAX_TOGETHER} values in all` };
    for (const [name, each] of entries) {
      const refusal = refuseIn(each, path === '' ? name : `${path}.${name}`, depth + 1);
      if (refusal) return refusal;
    }
    return null;
  };

  return refuseIn(body, '', 0);
}
