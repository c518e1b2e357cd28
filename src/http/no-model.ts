/** The answer where an address or a name means no model. */
import { namesOf } from '../fleet/models.ts';
import type { ModelFacts } from '../stage/contract.ts';
import { Problem } from './problem.ts';

/** A 404 Problem that says which names there are. */
export const noModel = (name: string, models: readonly ModelFacts[]): Problem =>
  new Problem({
    status: 404,
    code: 'model_not_found',
    detail: `There is no model ${name.slice(0, 100)}: the model is ${namesOf(models)}.`,
  });
