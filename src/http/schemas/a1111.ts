/** AUTOMATIC1111's answers in the OpenAPI document. */
import { z } from '@hono/zod-openapi';
import type {
  viewCheckpoints,
  viewImages,
  viewOptions,
  viewSamplers,
  viewSchedulers,
  viewUnderWay,
  viewUpscalers,
} from '../../doors/a1111.ts';
import type { viewPngInfo } from '../../doors/a1111-infotext.ts';
import { exactly, orNull } from '../schema-fields.ts';
import { warnings } from './work.ts';

type Images = ReturnType<typeof viewImages>;

/** `parameters` repeats the request. */
export const images = z
  .object({
    images: z.array(z.string()).openapi({ description: 'base64' }),
    parameters: z.looseObject({}),
    info: z.string().openapi({ description: 'JSON: seeds, sizes, what was used' }),
    warnings: warnings.optional(),
  })
  .openapi('A1111Images') as unknown as z.ZodType<Images>;

export const progress = exactly<ReturnType<typeof viewUnderWay>>()(
  z
    .object({
      progress: z.number().openapi({ description: '0 to 1' }),
      eta_relative: z.number().openapi({ description: 'seconds' }),
      state: z.object({
        skipped: z.boolean(),
        interrupted: z.boolean(),
        stopping_generation: z.boolean(),
        job: z.string(),
        job_count: z.int(),
        job_timestamp: z.string(),
        job_no: z.int(),
        sampling_step: z.int(),
        sampling_steps: z.int(),
      }),
      current_image: z.string().nullable().openapi({ description: 'base64: the picture of its last stage' }),
      textinfo: z.string().nullable(),
    })
    .openapi('A1111Progress'),
);

export const options = exactly<ReturnType<typeof viewOptions>>()(
  z
    .object({
      sd_model_checkpoint: z.string(),
      sd_checkpoint_hash: z.string(),
      samples_format: z.string(),
      enable_pnginfo: z.boolean(),
      live_previews_enable: z.boolean(),
      live_previews_image_format: z.string(),
      show_progress_every_n_steps: z.int(),
      CLIP_stop_at_last_layers: z.int(),
    })
    .openapi('A1111Options'),
);

export const checkpoints = exactly<ReturnType<typeof viewCheckpoints>>()(
  z.array(
    z
      .object({
        title: z.string(),
        model_name: z.string(),
        hash: z.string(),
        sha256: z.string(),
        filename: z.string(),
        config: z.null(),
      })
      .openapi('A1111Checkpoint'),
  ),
);

export const samplers = exactly<ReturnType<typeof viewSamplers>>()(
  z.array(z.object({ name: z.string(), aliases: z.array(z.string()), options: z.object({}) }).openapi('A1111Sampler')),
);

export const schedulers = exactly<ReturnType<typeof viewSchedulers>>()(
  z.array(
    z
      .object({
        name: z.string(),
        label: z.string(),
        aliases: z.null(),
        default_rho: z.number(),
        need_inner_model: z.boolean(),
      })
      .openapi('A1111Scheduler'),
  ),
);

export const upscalers = exactly<ReturnType<typeof viewUpscalers>>()(
  z.array(
    z
      .object({
        name: z.string(),
        model_name: z.null(),
        model_path: z.null(),
        model_url: z.null(),
        scale: z.number(),
      })
      .openapi('A1111Upscaler'),
  ),
);

export const pngInfo = exactly<ReturnType<typeof viewPngInfo>>()(
  z
    .object({
      info: z.string().openapi({ description: 'the settings as text; empty where the file says none' }),
      items: z.record(z.string(), z.string()).openapi({ description: 'the other texts of the file' }),
      parameters: z.record(z.string(), z.string()).openapi({ description: 'the settings by their names' }),
    })
    .openapi('A1111PngInfo'),
);

/** Nothing is told of what was stopped. */
export const stopped = z.object({}).openapi('A1111Stopped');

/** What of the options was ignored; null: nothing. */
export const optionsChecked = orNull(z.object({ warnings }).openapi('A1111OptionsChecked'));
