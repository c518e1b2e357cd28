/** Bodies of other services' requests. Their clients send null for what was not given, so null is as good as absent. */
import { z } from '@hono/zod-openapi';

/** A JSON value without the fields that are null, at every depth. A null in a list keeps its place. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, each]) => (each === null ? [] : [[name, withoutNulls(each)]])),
  );
}

/**
 * The contract of such a body: `schema`, which never sees a null field. Law: a field that is null and one that is
 * absent get the same answer. `requireJson` bounds how deep a body goes.
 */
export const foreignBody = <T extends z.ZodObject>(schema: T) => z.preprocess(withoutNulls, schema);

/** What a route says of such a body in the OpenAPI document. */
export const foreignContent = <T extends z.ZodObject>(schema: T) => ({
  required: true,
  description: 'Null is as good as absent in every field.',
  content: { 'application/json': { schema: foreignBody(schema) } },
});
