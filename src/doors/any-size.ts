/** The size of a request that tools have built in, in the words of a job. Pure. */
import { isAlias } from '../fleet/models.ts';
import { fitSize } from '../job/enlarge.ts';
import type { DraftTools, RequestInput } from '../job/plan-request.ts';
import type { Size } from '../numerics/grid.ts';
import type { ModelFacts } from '../stage/contract.ts';

/** What a size comes to: fields of the job's request, and what to tell the caller. */
export interface AskedSize {
  readonly input: Pick<RequestInput, 'width' | 'height' | 'enlarge'>;
  readonly notes: readonly string[];
}

/**
 * What a size that was asked for comes to. Who names a model by an alias has a tool with sizes of its own, and gets
 * each: from the nearest size that the model makes, where the deployment allows it. Who names the model itself, or
 * none, gets the sizes that it makes, and every other is refused later. Law: a size that the model makes is the job's
 * own.
 */
export function askedSize(
  wanted: Size | undefined,
  {
    name,
    models,
    facts,
    tools,
  }: {
    /** as the caller named the model */
    readonly name: string | undefined;
    readonly models: readonly ModelFacts[];
    /** of the model that it means */
    readonly facts: ModelFacts;
    readonly tools: Pick<DraftTools, 'mayEnlarge'>;
  },
): AskedSize {
  if (!wanted) return { input: {}, notes: [] };
  if (!tools.mayEnlarge || !isAlias(models, name)) return { input: wanted, notes: [] };
  const { note, ...input } = fitSize(wanted, facts);
  return { input, notes: note === null ? [] : [note] };
}
