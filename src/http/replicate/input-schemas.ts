/** The input of predictions as JSON schemas: what Replicate's clients read of a version. */
import { OpenAPIHono } from '@hono/zod-openapi';
import type { Schemas } from '../../doors/replicate-model.ts';
import { predictionInput } from './body.ts';

/**
 * Returns the schema of the input that predictions are checked with, by the name `Input`, and those that it refers to:
 * made when they are first asked for.
 */
export function inputSchemas(): () => Schemas {
  let schemas: Schemas | null = null;
  return () => (schemas ??= made());
}

function made(): Schemas {
  const described = new OpenAPIHono();
  described.openAPIRegistry.register('Input', predictionInput);
  const { components } = described.getOpenAPI31Document({ openapi: '3.1.0', info: { title: '', version: '' } });
  return (components?.schemas ?? {}) as Schemas;
}
