/** Errors as RFC 9457 problem details: one shape for every refusal on our own routes. */
import type { z } from 'zod';

export interface Fault {
  /** dotted path of the field, or the header's name */
  readonly field: string;
  /** what was got, shortened; text is told by its length only */
  readonly value: unknown;
  /** what is expected */
  readonly rule: string;
}

export interface ProblemFields {
  readonly status: 400 | 401 | 404 | 409 | 410 | 413 | 415 | 422 | 429 | 500 | 503;
  /** stable name for programs */
  readonly code: string;
  /** one sentence for people */
  readonly detail: string;
  readonly errors?: readonly Fault[];
  readonly headers?: Readonly<Record<string, string>>;
}

const TITLES: Record<ProblemFields['status'], string> = {
  400: 'Bad request',
  401: 'Not authenticated',
  404: 'Not found',
  409: 'Conflict',
  410: 'Gone',
  413: 'Body too large',
  415: 'Unsupported media type',
  422: 'Not the same request',
  429: 'Too many requests',
  500: 'Internal error',
  503: 'Not available',
};

/** Thrown inside a route; the app's error handler turns it into the response. */
export class Problem extends Error {
  override name = 'Problem';
  readonly fields: ProblemFields;

  constructor(fields: ProblemFields) {
    super(fields.detail);
    this.fields = fields;
  }

  toResponse(): Response {
    const { status, code, detail, errors, headers } = this.fields;
    return Response.json(
      { type: 'about:blank', title: TITLES[status], status, detail, code, ...(errors && { errors }) },
      { status, headers: { ...headers, 'content-type': 'application/problem+json' } },
    );
  }
}

/** The rule that a field nobody knows breaks. */
export const UNKNOWN_FIELD = 'is not a field of this request';

/** A 400 for one field. */
export function badField(field: string, value: unknown, rule: string): Problem {
  return badFields([{ field, value, rule }]);
}

function badFields(errors: readonly Fault[]): Problem {
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
    error.issues.flatMap((issue): Fault[] => {
      const path = issue.path.map(String);
      if (issue.code === 'unrecognized_keys')
        return issue.keys.map((key) => ({
          field: [...path, key].join('.'),
          value: valueAt(input, [...path, key]),
          rule: UNKNOWN_FIELD,
        }));
      return [{ field: path.join('.') || '(body)', value: valueAt(input, path), rule: issue.message }];
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
