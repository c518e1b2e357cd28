/** Jobs, models and progress in the shapes of AUTOMATIC1111's API. Pure. */

import type { JobView } from '../job/job.ts';
import { settingsText } from '../job/label.ts';
import { presetsFor } from '../job/presets.ts';
import type { ModelFacts } from '../stage/contract.ts';
import { type A1111Request, SAMPLERS, samplerOf } from './a1111-request.ts';
import type { DoneJob } from './openai.ts';
import { progressOf } from './progress.ts';

/** How long the hash of a model is that tools show. */
const SHORT_HASH = 10;
const shortHash = (digest: string): string => digest.replace(/^sha256:/, '').slice(0, SHORT_HASH);

const stepsOf = ({ plan }: Pick<JobView, 'plan'>): number => plan.stages.reduce((sum, { steps }) => sum + steps, 0);
const sizeOf = ({ image, width, height }: JobView) => image ?? { width, height };

/** The lines that A1111 keeps with a picture, which its readers take apart again: those of the file. */
const infotext = ({ request, plan }: JobView): string =>
  settingsText(request, { steps: plan.stages.map(({ steps }) => steps), digest: plan.model_digest });

/** The answer to `txt2img`; `images` are base64. */
export function viewImages(request: A1111Request, jobs: readonly DoneJob[], images: readonly string[]) {
  const [first] = jobs as readonly [DoneJob, ...DoneJob[]];
  const warnings = [...new Set(jobs.flatMap(({ receipt }) => receipt.warnings))];
  const { negative_prompt = '', batch_size = 1, cfg_scale = 1 } = request;
  const seeds = jobs.map(({ seed }) => seed);
  const info = {
    prompt: first.prompt,
    all_prompts: jobs.map(({ prompt }) => prompt),
    negative_prompt,
    all_negative_prompts: jobs.map(() => negative_prompt),
    seed: first.seed,
    all_seeds: seeds,
    subseed: first.seed,
    all_subseeds: seeds,
    subseed_strength: 0,
    ...(({ width, height }) => ({ width, height }))(sizeOf(first)),
    sampler_name: samplerOf(request).used.name,
    cfg_scale,
    steps: stepsOf(first),
    batch_size,
    restore_faces: false,
    face_restoration_model: null,
    sd_model_name: first.model,
    sd_model_hash: shortHash(first.plan.model_digest),
    sd_vae_name: null,
    sd_vae_hash: null,
    seed_resize_from_w: -1,
    seed_resize_from_h: -1,
    denoising_strength: null,
    extra_generation_params: {},
    index_of_first_image: 0,
    infotexts: jobs.map(infotext),
    styles: [],
    job_timestamp: String(first.created_at),
    clip_skip: 1,
    is_using_inpainting_conditioning: false,
    version: 'ralu',
    warnings,
    job_ids: jobs.map(({ id }) => id),
  };
  return { images, parameters: request, info: JSON.stringify(info), ...(warnings.length > 0 && { warnings }) };
}

/** A request under way: its jobs, and how far the one is that is computed now. */
export interface UnderWay {
  readonly jobs: readonly JobView[];
  /** the stage that it is in, and the steps of that which are done; null: none has begun */
  readonly stage: number | null;
  readonly step: number;
  /** base64 */
  readonly picture: string | null;
  /** milliseconds since 1970 */
  readonly now: number;
}

const isOpen = ({ status }: Pick<JobView, 'status'>): boolean => status === 'queued' || status === 'running';

/** The job that is drawn now: the first that waits for nobody, or else the first that has not ended. */
export const currentOf = <J extends Pick<JobView, 'status' | 'queue'>>(jobs: readonly J[]): J | undefined =>
  jobs.find(({ status, queue }) => status === 'running' && queue === null) ?? jobs.find(isOpen);

/** The answer to `progress`; null: nothing is under way. */
export function viewUnderWay(underWay: UnderWay | null) {
  const { jobs, stage, step, picture, now } = underWay ?? NOTHING;
  const current = currentOf(jobs);
  // the events of a job are newer than the view of it
  const share = current ? progressOf(stage === null ? current : { ...current, room: `stage${stage}` }, step) : 0;
  const shares = jobs.map((job) => (job === current ? share : progressOf(job)));
  const progress = jobs.length === 0 ? 0 : shares.reduce((sum, each) => sum + each, 0) / jobs.length;
  const seconds = now / 1000 - (jobs[0]?.created_at ?? 0);
  const steps = current ? stepsOf(current) : 0;
  return {
    progress,
    eta_relative: progress > 0 ? Math.max(0, seconds / progress - seconds) : 0,
    state: {
      skipped: false,
      interrupted: false,
      stopping_generation: false,
      job: current?.id ?? '',
      job_count: jobs.length,
      job_timestamp: String(jobs[0]?.created_at ?? 0),
      job_no: current ? jobs.indexOf(current) : 0,
      sampling_step: Math.round(share * steps),
      sampling_steps: steps,
    },
    current_image: picture,
    textinfo: current ? `stage ${stage ?? 1} of ${current.plan.stages.length}` : null,
  };
}
const NOTHING: UnderWay = { jobs: [], stage: null, step: 0, picture: null, now: 0 };

/** What can be asked for now, as A1111 lists checkpoints. */
export const viewCheckpoints = (models: readonly ModelFacts[]) =>
  models.map(({ id, digest }) => ({
    title: id,
    model_name: id,
    hash: shortHash(digest),
    sha256: digest.replace(/^sha256:/, ''),
    filename: id,
    config: null,
  }));

/** The options that a client may read: which model is asked for when a request names none. */
export const viewOptions = ([first]: readonly ModelFacts[]) => ({
  sd_model_checkpoint: first?.id ?? '',
  sd_checkpoint_hash: first?.digest.replace(/^sha256:/, '') ?? '',
  samples_format: 'png',
  enable_pnginfo: true,
  live_previews_enable: true,
  live_previews_image_format: 'png',
  show_progress_every_n_steps: 1,
  CLIP_stop_at_last_layers: 1,
});

export const viewSamplers = () => SAMPLERS.map(({ name, aliases }) => ({ name, aliases, options: {} }));

/** The presets of the first model, as schedulers: tools have a field for these. */
export const viewSchedulers = ([first]: readonly ModelFacts[]) => [
  scheduler('automatic', 'Automatic'),
  ...(first ? presetsFor(first).map(({ name }) => scheduler(name, name)) : []),
];
const scheduler = (name: string, label: string) => ({
  name,
  label,
  aliases: null,
  default_rho: -1.0,
  need_inner_model: false,
});

/** How pictures of other sizes are made, which no request chooses. */
export const viewUpscalers = () =>
  ['None', 'Lanczos'].map((name) => ({ name, model_name: null, model_path: null, model_url: null, scale: 4 }));

/** Lists that tools ask for, of what is not here. */
export const NONE = {
  'sd-vae': [],
  'sd-modules': [],
  loras: [],
  hypernetworks: [],
  'face-restorers': [],
  'realesrgan-models': [],
  'latent-upscale-modes': [],
  'prompt-styles': [],
  embeddings: { loaded: {}, skipped: {} },
  scripts: { txt2img: [], img2img: [] },
  'script-info': [],
  extensions: [],
  'cmd-flags': {},
} as const;
