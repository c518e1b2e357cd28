/** A request of fal's queue in the words of a job. Pure. */

import { resolveModel } from '../fleet/models.ts';
import { type Draft, type DraftTools, draftRequest, type RequestInput, renamed } from '../job/plan-request.ts';
import { type Planned, refuse } from '../job/schedule-request.ts';
import type { ModelFacts } from '../stage/contract.ts';

/** The body of a request, its shapes checked, its nulls left out. */
export interface FalInput extends Omit<RequestInput, 'width' | 'height'> {
  readonly image_size?: { readonly width: number; readonly height: number } | undefined;
  /** a plain run of so many */
  readonly num_inference_steps?: number | undefined;
  /** what `guidance` is */
  readonly guidance_scale?: number | undefined;
  readonly num_images?: 1 | undefined;
  /** the caller's own customer */
  readonly user?: string | undefined;
  readonly sync_mode?: false | undefined;
  /** the deployment decides: its judge of prompts is asked either way */
  readonly enable_safety_checker?: boolean | undefined;
}

/** The model that an app's path means, its last parts first; null where none is called like that. */
export function modelOfApp(models: readonly ModelFacts[], app: string, path: string): ModelFacts | null {
  const names = [path, path.split('/').at(-1) ?? '', app].filter((name) => name !== '');
  return names.map((name) => resolveModel(models, name)).find((model) => model !== null) ?? null;
}

/** The draft of a request, one job. Refuses fields by their names in the body. */
export function draftFalRequest(
  { image_size, num_inference_steps: steps, guidance_scale, ...input }: FalInput,
  model: ModelFacts,
  tools: DraftTools,
): Planned<Draft> {
  if (steps !== undefined && (input.preset !== undefined || input.N !== undefined || input.speed !== undefined))
    return refuse('num_inference_steps', steps, 'cannot be given together with a preset, N or speed');
  if (guidance_scale !== undefined && input.guidance !== undefined)
    return refuse('guidance_scale', guidance_scale, 'cannot be given together with guidance');
  const planned = draftRequest(
    {
      ...input,
      ...image_size,
      ...(steps !== undefined && { N: [steps], e: [1] }),
      ...(guidance_scale !== undefined && { guidance: guidance_scale }),
    },
    model,
    tools,
  );
  return renamed(planned, (field) => {
    if (['width', 'height', 'width, height'].includes(field)) return 'image_size';
    if (steps !== undefined && (field === 'N' || field === 'e')) return 'num_inference_steps';
    if (guidance_scale !== undefined && field === 'guidance') return 'guidance_scale';
    return field;
  });
}
