/** A refusal before any door has put it in its own shape; and our own shape, RFC 9457 problem details. Pure. */
import type { Refusal } from '../job/schedule-request.ts';

export interface ProblemFields {
  readonly status:
    | 400
    | 401
    | 402
    | 403
    | 404
    | 405
    | 409
    | 410
    | 412
    | 413
    | 415
    | 416
    | 422
    | 429
    | 499
    | 500
    | 503
    | 504;
  /** stable name for programs */
  readonly code: string;
  /** one sentence for people */
  readonly detail: string;
  /** the fields at fault by their dotted paths, or a header by its name; values short enough to show */
  readonly errors?: readonly Refusal[];
  readonly headers?: Readonly<Record<string, string>>;
}

/** Where a field would be named and the body as a whole is meant. */
export const WHOLE_BODY = '(body)';

/** The rule that a field nobody knows breaks. */
export const UNKNOWN_FIELD = 'is not a field of this request';

const TITLES: Record<ProblemFields['status'], string> = {
  400: 'Bad request',
  401: 'Not authenticated',
  402: 'Not paid',
  403: 'Not allowed',
  404: 'Not found',
  405: 'Method not allowed',
  409: 'Conflict',
  410: 'Gone',
  412: 'Precondition failed',
  413: 'Body too large',
  415: 'Unsupported media type',
  416: 'Range not satisfiable',
  422: 'Not the same request',
  429: 'Too many requests',
  499: 'Cancelled',
  500: 'Internal error',
  503: 'Not available',
  504: 'Not in time',
};

/** The body of `application/problem+json`. */
export const viewProblem = ({ status, code, detail, errors }: ProblemFields) => ({
  type: 'about:blank',
  title: TITLES[status],
  status,
  detail,
  code,
  ...(errors && { errors }),
});
