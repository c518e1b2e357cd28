/** Errors as FastAPI writes them, and so AUTOMATIC1111 and Black Forest Labs. Pure. */
import { type ProblemFields, WHOLE_BODY } from './problem.ts';

/** `detail` is a sentence, or, where fields of the request are at fault, a list of `{loc, msg, type}` under 422. */
export function viewError({ status, code, detail, errors }: ProblemFields) {
  if (status !== 400 || !errors) return { status, body: { detail } };
  const faults = errors.map(({ field, rule }) => ({
    loc: field === WHOLE_BODY ? ['body'] : ['body', ...field.split('.')],
    msg: rule,
    type: code,
  }));
  return { status: 422 as const, body: { detail: faults } };
}
