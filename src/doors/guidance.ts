/** Guidance that tools send by themselves. Pure. */
import type { ModelFacts } from '../stage/contract.ts';

/** What a field that other services call guidance means for a model: ignored, and told, where it has none. */
export function guidanceOf(
  field: string,
  value: number | undefined,
  { id, guidance }: Pick<ModelFacts, 'id' | 'guidance'>,
): { readonly guidance?: number; readonly notes: readonly string[] } {
  if (value === undefined) return { notes: [] };
  return guidance === null
    ? { notes: [`${field} is ignored: model ${id} has no guidance`] }
    : { guidance: value, notes: [] };
}
