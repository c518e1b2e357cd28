/** Refusals as they are thrown inside a route; each door has its own shape for them. */

import type { z } from 'zod';
import { type ProblemFields, UNKNOWN_FIELD, viewProblem, WHOLE_BODY } from '../doors/problem.ts';
import { cutText } from '../job/cut-text.ts';
import type { Planned, Refusal } from '../job/schedule-request.ts';

/** Thrown inside a route; the app's error handler turns it into the response. */
export class Problem extends Error {
  override name = 'Problem';
  readonly fields: ProblemFields;

  constructor(fields: ProblemFields) {
    super(fields.detail);
    this.fields = fields;
  }

  /** In our own shape. */
  toResponse(): Response {
    const { status, headers } = this.fields;
    return Response.json(viewProblem(this.fields), {
      status,
      headers: { ...headers, 'content-type': 'application/problem+json' },
    });
  }
}

/** What was planned. Throws the 400 that names what is wrong with it. */
export function orProblem<T>(planned: Planned<T>): T {
  if (planned.ok) return planned.value;
  const { field, value, rule } = planned.refusal;
  throw badField(field, value, rule);
}

/** A 405 for an address that takes only these methods. */
export const methodNotAllowed = (method: string, allowed: readonly string[]): Problem =>
  new Problem({
    status: 405,
    code: 'method_not_allowed',
    detail: `This address takes ${allowed.join(', ')}, not ${method}.`,
    headers: { allow: allowed.join(', ') },
  });

/** A 400 for one field, `invalid_request` unless it has a code of its own. */
export function badField(field: string, value: unknown, rule: string, code?: string): Problem {
  return badFields([{ field, value, rule }], 1, code);
}

/** Most faults that an answer tells; the rest is counted. */
const MAX_FAULTS = 20;
/** Longest name of a field that an answer repeats, characters: a caller may make up any. */
const MAX_NAME = 100;

/** The 400 `code` of a request with these faults, the first of `count`. Every refusal of a field is made here. */
function badFields(faults: readonly Refusal[], count = faults.length, code = 'invalid_request'): Problem {
  const errors = faults.slice(0, MAX_FAULTS).map(({ field, value, rule }) => ({
    field: cutText(field, MAX_NAME),
    value: shorten(value),
    rule,
  }));
  const sentences = errors.map(
    ({ field, value, rule }) => `${field}: got ${value === undefined ? 'nothing' : JSON.stringify(value)}; ${rule}`,
  );
  const more = count > errors.length ? [`and ${count - errors.length} more faults`] : [];
  return new Problem({ status: 400, code, detail: [...sentences, ...more].join(' · '), errors });
}

/** A 400 naming field, value and rule of the first faults that a zod schema found in `input`. */
export function fromZod(error: z.ZodError, input: unknown): Problem {
  const faults: Refusal[] = [];
  let count = 0;
  const add = (path: readonly string[], rule: string): void => {
    count++;
    if (faults.length === MAX_FAULTS) return;
    faults.push({ field: path.join('.') || WHOLE_BODY, value: valueAt(input, path), rule });
  };
  for (const issue of error.issues) {
    const path = issue.path.map(String);
    if (issue.code === 'unrecognized_keys') for (const key of issue.keys) add([...path, key], UNKNOWN_FIELD);
    else add(path, issue.message);
  }
  return badFields(faults, count);
}

function valueAt(input: unknown, path: readonly string[]): unknown {
  let value = input;
  for (const key of path)
    value = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
  return value;
}

const SHOWN_LENGTH = 80;

/** A value short enough to show. Long text may be a prompt: only its length is told. */
function shorten(value: unknown): unknown {
  if (typeof value === 'string') return value.length > SHOWN_LENGTH ? `(${value.length} characters)` : value;
  if (typeof value !== 'object' || value === null) return value;
  const text = JSON.stringify(value);
  return text.length > SHOWN_LENGTH ? cutText(text, SHOWN_LENGTH) : value;
}
