/** The model that an address of Replicate's means. */
import { modelNamed } from '../../doors/replicate-request.ts';
import type { ModelFacts } from '../../stage/contract.ts';
import { noModel } from '../no-model.ts';

/** The model of this id, alias or digest, whoever the owner is. Throws a 404 Problem where there is none. */
export function modelAt(models: readonly ModelFacts[], name: string): ModelFacts {
  const found = modelNamed(models, { field: 'model', name });
  if (found.ok) return found.value;
  throw noModel(name, models);
}
