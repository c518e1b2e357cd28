/** The bodies that tools for AUTOMATIC1111 send. */
import { z } from '@hono/zod-openapi';
import { A1111_IDLE, A1111_IGNORED, type A1111Request, isEmpty } from '../doors/a1111-request.ts';
import { MAX_VALUES } from './body-shape.ts';
import { jobBody, MAX_NAME } from './job-request.ts';
import { anyBoolean, ignoredFields } from './spellings.ts';

const { prompt, negative_prompt, seed } = jobBody.shape;

/** A field that is absent where it is empty. */
const unlessEmpty = <T extends z.ZodType>(schema: T) =>
  z.preprocess((value) => (isEmpty(value) ? undefined : value), schema.optional()).optional();

/** A1111 has hundreds of them: whichever come are taken, as many as a body may have of anything. */
const settings = z.record(z.string(), z.unknown()).openapi({ maxProperties: MAX_VALUES });
const name = unlessEmpty(z.string().max(MAX_NAME));
const side = z.int().min(1).max(10_000).optional();
const several = z.int().min(1).max(100).optional();
const idle = z.unknown().optional().openapi({ description: 'means something only beside a field that is refused' });

export const a1111Body = z
  .strictObject({
    prompt,
    negative_prompt: unlessEmpty(negative_prompt),
    seed,
    steps: z.int().min(1).max(1000).optional().openapi({ description: 'a plain run of so many steps' }),
    cfg_scale: z.number().min(0).max(100).optional(),
    distilled_cfg_scale: z.number().min(0).max(100).optional(),
    width: side,
    height: side,
    batch_size: several,
    n_iter: several.openapi({ description: 'times batch_size, the images of the request: at most 10' }),
    sampler_name: name,
    sampler_index: name,
    scheduler: name.openapi({ description: 'a preset, whose steps go first; or the model’s own spacing' }),
    override_settings: unlessEmpty(settings),
    send_images: anyBoolean.optional(),
    enable_hr: anyBoolean.optional().openapi({ description: 'refused where true' }),
    tiling: anyBoolean.optional().openapi({ description: 'refused where true' }),
    script_name: unlessEmpty(z.unknown()).openapi({ description: 'refused' }),
    alwayson_scripts: unlessEmpty(z.unknown()).openapi({ description: 'refused' }),
    ...Object.fromEntries(A1111_IDLE.map((field) => [field, idle])),
    ...ignoredFields(A1111_IGNORED),
  } satisfies { readonly [Field in keyof A1111Request]-?: z.ZodType<A1111Request[Field]> })
  .openapi('A1111Request');

/** Options, which are looked at and not kept. */
export const optionsBody = z
  .object({ sd_model_checkpoint: z.unknown().optional() })
  .catchall(z.unknown())
  .openapi({ maxProperties: MAX_VALUES });

/** Longest body of a picture file as text, bytes: a file of 12 MB, which is every one of ours. */
export const MAX_PICTURE_BYTES = 16 * 2 ** 20;

/** A picture file as text. */
export const pngInfoBody = z
  .strictObject({
    image: z
      .string()
      .min(1)
      .max(MAX_PICTURE_BYTES)
      .openapi({ description: 'a PNG, JPEG or WebP file in base64, or such a file as a data URI' }),
  })
  .openapi('A1111PngInfoRequest');
