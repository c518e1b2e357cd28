/** Refusals as they are thrown inside a route; each door has its own shape for them. */
import type { z } from 'zod';
import { type ProblemFields, UNKNOWN_FIELD, viewProblem, WHOLE_BODY } from '../doors/problem.ts';
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

/** A 400 for one field. */
export function badField(field: string, value: unknown, rule: string): Problem {
  return badFields([{ field, value, rule }]);
}

function badFields(errors: readonly Refusal[]): Problem {
  const shown = errors.map(({ field, value, rule }) => ({ field, value: shorten(value), rule }));
  const detail = shown
    .map(
      ({ field, value, rule }) => `${field}: got ${value === undefined ? 'nothing' : JSON.stringify(value)}; ${rule}`,
    )
    .join(' · ');
  return new Problem({ status: 400, code: 'invalid_request', detail, errors: shown });
}

/** A 400 naming field, value and rule of every fault a zod schema found in `input`. */
export function fromZod(error: z.ZodError, input: unknown): Problem {
  return badFields(
    error.issues.flatMap((issue): Refusal[] => {
      const path = issue.path.map(String);
      if (issue.code === 'unrecognized_keys')
        return issue.keys.map((key) => ({
          field: [...path, key].join('.'),
          value: valueAt(input, [...path, key]),
          rule: UNKNOWN_FIELD,
        }));
      return [{ field: path.join('.') || WHOLE_BODY, value: valueAt(input, path), rule: issue.message }];
    }),
  );
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
  return text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : value;
}
