/** A request of fal's queue in the words of a job. Pure. */

import { resolveModel } from '../fleet/models.ts';
import { type Draft, type DraftTools, draftRequest, type RequestInput, renamed } from '../job/plan-request.ts';
import { type Planned, refuse } from '../job/schedule-request.ts';
import type { Size } from '../numerics/grid.ts';
import type { ModelFacts } from '../stage/contract.ts';
import { guidanceOf } from './guidance.ts';
import { type IgnoredFields, ignoredIn } from './ignored.ts';
import {
  AS_WRITTEN,
  JUDGE,
  NO_ADAPTERS,
  NO_IMAGE_TO_IMAGE,
  NO_PICTURE,
  NO_RAW,
  OWN_PACE,
  OWN_SCHEDULE,
} from './reasons.ts';
import { type FoundSize, namedSize, ratioSize } from './wanted-size.ts';

/** What fal's names of sizes stand for there, pixels. */
export const SIZE_NAMES = {
  square_hd: { width: 1024, height: 1024 },
  square: { width: 512, height: 512 },
  portrait_4_3: { width: 768, height: 1024 },
  portrait_16_9: { width: 576, height: 1024 },
  landscape_4_3: { width: 1024, height: 768 },
  landscape_16_9: { width: 1024, height: 576 },
} as const satisfies Readonly<Record<string, Size>>;
export type SizeName = keyof typeof SIZE_NAMES;

/** The body of a request, its shapes checked, its nulls left out. */
export interface FalInput extends Omit<RequestInput, 'width' | 'height'> {
  readonly image_size?: SizeName | Size | undefined;
  readonly aspect_ratio?: string | undefined;
  /** a plain run of so many */
  readonly num_inference_steps?: number | undefined;
  /** what `guidance` is */
  readonly guidance_scale?: number | undefined;
  /** image i has seed + i */
  readonly num_images?: number | undefined;
  /** the caller's own customer */
  readonly user?: string | undefined;
  /** the pictures as data URIs */
  readonly sync_mode?: boolean | undefined;
}

/** What apps of fal take and clients send along, and changes nothing here. */
export const FAL_IGNORED = {
  enable_safety_checker: { why: JUDGE, anyway: [true] },
  safety_tolerance: { why: JUDGE },
  acceleration: { why: OWN_PACE },
  enable_prompt_expansion: { why: AS_WRITTEN, anyway: [false] },
  expand_prompt: { why: AS_WRITTEN, anyway: [false] },
  prompt_upsampling: { why: AS_WRITTEN, anyway: [false] },
  enhance_prompt: { why: AS_WRITTEN, anyway: [false] },
  raw: { why: NO_RAW, anyway: [false] },
  strength: { why: NO_PICTURE },
  image_prompt_strength: { why: NO_PICTURE },
  scheduler: { why: OWN_SCHEDULE },
} as const satisfies IgnoredFields;

/** What apps of fal take and this service cannot do: to ignore it would give another picture than was asked for. */
export const FAL_REFUSED = {
  image_url: NO_IMAGE_TO_IMAGE,
  image_urls: NO_IMAGE_TO_IMAGE,
  mask_url: NO_IMAGE_TO_IMAGE,
  reference_image_url: NO_IMAGE_TO_IMAGE,
  control_lora_image_url: NO_IMAGE_TO_IMAGE,
  fill_image: NO_IMAGE_TO_IMAGE,
  loras: NO_ADAPTERS,
  embeddings: NO_ADAPTERS,
  controlnets: NO_ADAPTERS,
  controlnet_unions: NO_ADAPTERS,
  ip_adapters: NO_ADAPTERS,
  easycontrols: NO_ADAPTERS,
} as const;

/** What the headers of a request say, by their names; null where there is none. */
export interface FalHeaders {
  readonly priority: string | null;
  readonly lifecycle: string | null;
  readonly storeIo: string | null;
}

/** The model that an app's path means, its last parts first; null where none is called like that. */
export function modelOfApp(models: readonly ModelFacts[], app: string, path: string): ModelFacts | null {
  const names = [path, path.split('/').at(-1) ?? '', app].filter((name) => name !== '');
  return names.map((name) => resolveModel(models, name)).find((model) => model !== null) ?? null;
}

/** The draft of a request, a job an image. Refuses fields by their names in the body. */
export function draftFalRequest(
  body: FalInput,
  model: ModelFacts,
  tools: DraftTools,
  headers: FalHeaders | null = null,
): Planned<Draft> {
  const { image_size: _, aspect_ratio: __, num_inference_steps: steps, guidance_scale, num_images, ...input } = body;
  if (steps !== undefined && (input.preset !== undefined || input.N !== undefined || input.speed !== undefined))
    return refuse('num_inference_steps', steps, 'cannot be given together with a preset, N or speed');
  if (guidance_scale !== undefined && input.guidance !== undefined)
    return refuse('guidance_scale', guidance_scale, 'cannot be given together with guidance');
  const found = sizeOf(body, model);
  if (!found.ok) return found;
  const guided = guidance_scale === undefined ? 'guidance' : 'guidance_scale';
  const { notes: told, guidance } = guidanceOf(guided, guidance_scale ?? input.guidance, model);
  const planned = draftRequest(
    {
      ...input,
      ...found.value.size,
      ...(steps !== undefined && { N: [steps], e: [1] }),
      guidance,
    },
    model,
    tools,
    {
      count: num_images ?? 1,
      notes: [...found.value.notes, ...told, ...ignoredIn(body, FAL_IGNORED), ...(headers ? notesOf(headers) : [])],
    },
  );
  return renamed(planned, (field) => {
    if (['width', 'height', 'width, height'].includes(field)) return 'image_size';
    if (steps !== undefined && (field === 'N' || field === 'e')) return 'num_inference_steps';
    if (field === 'guidance') return guided;
    return field;
  });
}

/** The size asked for by pixels, which are meant as they are, by name or by ratio. */
function sizeOf({ image_size: size, aspect_ratio: ratio }: FalInput, model: ModelFacts): Planned<FoundSize> {
  if (size !== undefined && ratio !== undefined)
    return refuse('aspect_ratio', ratio, 'cannot be given together with image_size');
  if (ratio !== undefined) return ratioSize(ratio, null, model);
  const value: FoundSize =
    typeof size === 'string'
      ? namedSize(`image_size ${size}`, SIZE_NAMES[size], model)
      : { size: size ?? null, notes: [] };
  return { ok: true, value };
}

/** A warning for each header that asks for what it does not get. */
const notesOf = ({ priority, lifecycle, storeIo }: FalHeaders): readonly string[] => [
  ...(priority === null || priority === 'normal'
    ? []
    : ['x-fal-queue-priority is ignored: the line is the same for all requests of an account']),
  ...(lifecycle === null
    ? []
    : ['x-fal-object-lifecycle-preference is ignored: pictures are kept as long as the deployment says']),
  ...(storeIo === null || /^(?:1|true|yes)$/i.test(storeIo)
    ? []
    : ['x-fal-store-io is ignored: what is kept goes when the job is erased, or its time is over']),
];

/** Seconds that a request may wait for its start, as `x-fal-request-timeout` has it; null without one. */
export function startSeconds(header: string | undefined): Planned<number | null> {
  if (header === undefined) return { ok: true, value: null };
  const seconds = /^\d{1,9}(?:\.\d{1,9})?$/.test(header) ? Number(header) : 0;
  return seconds > 0
    ? { ok: true, value: seconds }
    : refuse('x-fal-request-timeout', header, 'must be a number of seconds above 0');
}
