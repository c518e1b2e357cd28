/** A request for AUTOMATIC1111's `txt2img` in the words of a job. Pure. */
import { resolveModel } from '../fleet/models.ts';
import { fitSize } from '../job/enlarge.ts';
import { chooseModel, type Draft, type DraftTools, draftRequest, renamed } from '../job/plan-request.ts';
import { presetsFor } from '../job/presets.ts';
import { MAX_STAGES, type Planned, refuse, type ScheduleInput } from '../job/schedule-request.ts';
import type { Solver } from '../numerics/adams-bashforth.ts';
import type { ImageFormat, ModelFacts } from '../stage/contract.ts';
import { type IgnoredFields, ignoredIn } from './ignored.ts';

/** Images of one request. */
const MAX_IMAGES = 10;

/** The samplers, and the solver that each is. */
export const SAMPLERS: readonly { readonly name: string; readonly aliases: readonly string[]; readonly is: Solver }[] =
  [
    { name: 'Euler', aliases: ['euler', 'k_euler'], is: 'euler' },
    { name: 'AB2', aliases: ['ab2', 'adams-bashforth 2'], is: 'ab2' },
  ];

/** Names of schedulers that mean the model's own spacing, which is the only one. */
const AUTOMATIC = ['automatic', ''];

/** Settings of `override_settings` that mean something here. */
const MEANT_SETTINGS = ['sd_model_checkpoint', 'samples_format', 'live_previews_enable', 'enable_pnginfo'];
const FORMATS: Readonly<Record<string, ImageFormat>> = { png: 'png', jpg: 'jpeg', jpeg: 'jpeg', webp: 'webp' };

/** Fields of `txt2img` that change nothing here; what is empty counts as absent. */
export const A1111_IGNORED = {
  styles: { why: 'the service keeps no styles' },
  restore_faces: { why: 'there is no restorer of faces', anyway: [false] },
  subseed_strength: { why: 'seeds are not mixed', anyway: [0] },
  seed_resize_from_w: { why: 'seeds are not resized', anyway: [0, -1] },
  seed_resize_from_h: { why: 'seeds are not resized', anyway: [0, -1] },
  eta: { why: 'the samplers add no noise', anyway: [0, 1] },
  s_churn: { why: 'the samplers add no noise', anyway: [0] },
  s_tmin: { why: 'the samplers add no noise', anyway: [0] },
  s_tmax: { why: 'the samplers add no noise', anyway: [0] },
  s_noise: { why: 'the samplers add no noise', anyway: [1] },
  s_min_uncond: { why: 'every step is guided', anyway: [0] },
  refiner_checkpoint: { why: 'there is no refiner' },
  save_images: { why: 'a picture is kept until its job expires, and nowhere else', anyway: [false] },
} as const satisfies IgnoredFields;

/** Fields that mean something only beside others that are refused. */
export const A1111_IDLE = [
  'denoising_strength',
  'subseed',
  'firstphase_width',
  'firstphase_height',
  'hr_scale',
  'hr_upscaler',
  'hr_second_pass_steps',
  'hr_resize_x',
  'hr_resize_y',
  'hr_checkpoint_name',
  'hr_sampler_name',
  'hr_scheduler',
  'hr_prompt',
  'hr_negative_prompt',
  'hr_additional_modules',
  'hr_cfg',
  'hr_distilled_cfg',
  'refiner_switch_at',
  'script_args',
  'do_not_save_samples',
  'do_not_save_grid',
  'override_settings_restore_afterwards',
  'comments',
  'disable_extra_networks',
  'force_task_id',
  'infotext',
] as const;

/** Whether a value says nothing: tools send empty texts, lists and objects for what was not chosen. */
export const isEmpty = (value: unknown): boolean =>
  value === '' || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);

/** The body of a request, its shapes checked, what is empty in it left out. */
export interface A1111Request {
  readonly prompt: string;
  readonly negative_prompt?: string | undefined;
  readonly seed?: number | undefined;
  readonly steps?: number | undefined;
  readonly cfg_scale?: number | undefined;
  readonly distilled_cfg_scale?: number | undefined;
  readonly width?: number | undefined;
  readonly height?: number | undefined;
  readonly batch_size?: number | undefined;
  readonly n_iter?: number | undefined;
  readonly sampler_name?: string | undefined;
  readonly sampler_index?: string | undefined;
  readonly scheduler?: string | undefined;
  readonly override_settings?: Readonly<Record<string, unknown>> | undefined;
  readonly send_images?: boolean | undefined;
  readonly enable_hr?: boolean | undefined;
  readonly tiling?: boolean | undefined;
  readonly script_name?: unknown;
  readonly alwayson_scripts?: unknown;
}

/** How the pictures of a request are made: what its answer repeats. */
export const samplerOf = ({ sampler_name, sampler_index }: A1111Request) => {
  const asked = sampler_name ?? sampler_index;
  const found = SAMPLERS.find(({ name, aliases }) =>
    [name.toLowerCase(), ...aliases].includes(asked?.toLowerCase() ?? ''),
  );
  return { asked, found, used: found ?? (SAMPLERS[0] as (typeof SAMPLERS)[number]) };
};

/** The name of the model that a request asks for; undefined: the first. A title may end in a hash in brackets. */
export function checkpointOf({ override_settings }: Pick<A1111Request, 'override_settings'>): string | undefined {
  const title = override_settings?.sd_model_checkpoint;
  return typeof title === 'string' && title !== '' ? title.replace(/ \[[0-9a-f]+\]$/, '') : undefined;
}

/** Whether a request asks for a model that is there. */
export const isThere = (models: readonly ModelFacts[], request: A1111Request): boolean =>
  resolveModel(models, checkpointOf(request)) !== null;

/** The draft of a request: `batch_size` times `n_iter` jobs. Refuses fields by their names in the body. */
export function draftA1111(request: A1111Request, models: readonly ModelFacts[], tools: DraftTools): Planned<Draft> {
  const refusal = refuseScripts(request);
  if (refusal) return refusal;
  const { batch_size = 1, n_iter = 1, override_settings: settings = {} } = request;
  const count = batch_size * n_iter;
  if (count > MAX_IMAGES) return refuse('n_iter', n_iter, `batch_size times n_iter may be at most ${MAX_IMAGES}`);
  const model = chooseModel(models, checkpointOf(request));
  if (!model.ok) return renamed(model, () => 'override_settings.sd_model_checkpoint');
  const facts = model.value;
  const filled = Object.fromEntries(Object.entries(request).filter(([, value]) => !isEmpty(value)));
  const notes = [...ignoredIn(filled, A1111_IGNORED)];
  const took = { ...guidanceHere(request, facts, notes), ...sizeHere(request, facts, tools, notes) };
  const schedule = scheduleHere(request, facts, notes);
  const { asked, found, used } = samplerOf(request);
  if (asked !== undefined && !found) notes.push(`sampler_name is ignored: the picture is made with ${used.name}`);
  notes.push(...ignoredSettings(settings));
  const wanted = String(settings.samples_format || 'png').toLowerCase();
  const format = (Object.hasOwn(FORMATS, wanted) && FORMATS[wanted]) || 'png';
  if (!Object.hasOwn(FORMATS, wanted)) notes.push('override_settings.samples_format is ignored: the picture is a png');
  const previews = settings.live_previews_enable === false ? 0 : MAX_STAGES - 1;
  const planned = draftRequest(
    {
      prompt: request.prompt,
      seed: request.seed,
      solver: used.is,
      output_format: format,
      metadata: settings.enable_pnginfo === false ? false : undefined,
      ...took,
      ...schedule,
    },
    facts,
    tools,
    { count, previews: { count: previews, format: 'png' }, notes },
  );
  return renamed(planned, (field) => nameHere(field, request));
}

/** A warning for the settings that mean nothing here; not one for each, of which there may be many. */
function ignoredSettings(settings: Readonly<Record<string, unknown>>): readonly string[] {
  const names = Object.keys(settings).filter((name) => !MEANT_SETTINGS.includes(name));
  const [first] = names;
  if (first === undefined) return [];
  const more = names.length > 1 ? ` and ${names.length - 1} more are` : ' is';
  return [`override_settings.${first.slice(0, 100)}${more} ignored`];
}

/** Fields of requests that ask for what is not here. */
export const A1111_REFUSED = {
  enable_hr: 'there is no second pass: ask for the larger width and height',
  tiling: 'pictures do not tile',
  script_name: 'there are no scripts',
  alwayson_scripts: 'there are no scripts, and no extensions',
} as const;

/** Refuses the first field that asks for what is not here. */
function refuseScripts(request: A1111Request): Planned<never> | null {
  for (const [field, rule] of Object.entries(A1111_REFUSED)) {
    const value = request[field as keyof typeof A1111_REFUSED];
    if (value !== undefined && value !== false) return refuse(field, value, rule);
  }
  return null;
}

/** Guidance and what is not wanted, as the model takes them. */
function guidanceHere(
  { cfg_scale, distilled_cfg_scale, negative_prompt }: A1111Request,
  { id, guidance, negative_prompt: takesNegative }: ModelFacts,
  notes: string[],
) {
  const ignore = (field: string, why: string): void => void notes.push(`${field} is ignored: model ${id} ${why}`);
  const isCfg = guidance?.kind === 'cfg';
  if (cfg_scale !== undefined && cfg_scale !== 1 && !isCfg) ignore('cfg_scale', 'is not guided by a prompt to avoid');
  if (distilled_cfg_scale !== undefined && guidance?.kind !== 'embedded')
    ignore('distilled_cfg_scale', 'has no guidance of that kind');
  if (negative_prompt !== undefined && !takesNegative) ignore('negative_prompt', 'takes none');
  return {
    guidance: isCfg ? cfg_scale : guidance ? distilled_cfg_scale : undefined,
    negative_prompt: takesNegative ? negative_prompt : undefined,
  };
}

/** Tools have sizes of their own: each comes from the nearest that the model makes, where the deployment allows it. */
function sizeHere({ width, height }: A1111Request, facts: ModelFacts, { mayEnlarge }: DraftTools, notes: string[]) {
  if (width === undefined && height === undefined) return {};
  const [first] = facts.sizes as [ModelFacts['sizes'][number]];
  const wanted = { width: width ?? first.width, height: height ?? first.height };
  if (!mayEnlarge) return wanted;
  const { note, ...fitted } = fitSize(wanted, facts);
  if (note !== null) notes.push(note);
  return fitted;
}

/** A scheduler may be a preset, which has steps of its own; steps alone are a plain run of so many. */
function scheduleHere({ steps, scheduler }: A1111Request, facts: ModelFacts, notes: string[]): ScheduleInput {
  const name = scheduler?.toLowerCase() ?? '';
  const preset = presetsFor(facts).find((one) => one.name === name)?.name;
  if (preset !== undefined) {
    if (steps !== undefined) notes.push(`steps is ignored: ${preset} has steps of its own`);
    return { preset };
  }
  if (!AUTOMATIC.includes(name)) notes.push('scheduler is ignored: steps are spaced as the model has them');
  return steps === undefined ? {} : { N: [steps], e: [1] };
}

/** Names that a field of the job has in this body. */
function nameHere(field: string, { cfg_scale, scheduler }: A1111Request): string {
  switch (field) {
    case 'N':
    case 'e':
      return 'steps';
    case 'enlarge':
      return 'width, height';
    case 'guidance':
      return cfg_scale === undefined ? 'distilled_cfg_scale' : 'cfg_scale';
    case 'solver':
      return 'sampler_name';
    case 'preset':
      return scheduler === undefined ? 'steps' : 'scheduler';
    default:
      return field;
  }
}
