/** What is sent to an app of fal: the fields of a job in fal's words, those that change nothing, and headers. */
import { z } from '@hono/zod-openapi';
import { FAL_IGNORED, FAL_REFUSED, type FalInput, SIZE_NAMES, type SizeName } from '../../doors/fal-request.ts';
import { RATIO } from '../../doors/wanted-size.ts';
import { foreignContent } from '../foreign-body.ts';
import { jobBody } from '../job-request.ts';
import type { SchemaFields } from '../schema-fields.ts';
import { anyBoolean, anyCase, anyWord, FORMATS, ignoredFields, JPG, refusedFields } from '../spellings.ts';

/** Longest ratio, size or number, characters. */
const MAX_WORD = 20;
/** Most images of one request, as at fal. */
const MAX_IMAGES = 4;

const {
  model: _model,
  deadline_seconds: _deadline,
  webhook_url: _webhook,
  width: _width,
  height: _height,
  ...own
} = jobBody.shape;
const pixels = z.int().positive();

export const falBody = z
  .strictObject({
    ...own,
    ...ignoredFields(FAL_IGNORED),
    ...refusedFields(FAL_REFUSED),
    image_size: z
      .union([
        anyCase(Object.keys(SIZE_NAMES) as [SizeName, ...SizeName[]]),
        z.strictObject({ width: pixels, height: pixels }),
      ])
      .optional()
      .openapi({ description: 'by name: the nearest that the model makes; by pixels: these and no others' }),
    aspect_ratio: z
      .string()
      .max(MAX_WORD)
      .regex(RATIO, 'must be a ratio, as in 16:9')
      .optional()
      .openapi({ description: 'the nearest that the model makes', example: '16:9' }),
    num_inference_steps: z.int().min(1).max(1000).optional().openapi({ description: 'a plain run of so many steps' }),
    guidance_scale: own.guidance,
    num_images: z.int().min(1).max(MAX_IMAGES).optional().openapi({ description: 'image i has seed + i' }),
    output_format: anyWord(FORMATS, JPG),
    sync_mode: anyBoolean.optional().openapi({ description: 'the pictures as data URIs in place of links' }),
  } satisfies SchemaFields<FalInput>)
  .openapi('FalInput');

/** What the routes that start a request read of it. */
export const falRequest = {
  headers: z.object({
    'idempotency-key': z.string().optional(),
    'x-fal-request-timeout': z
      .string()
      .optional()
      .openapi({ description: 'seconds that the request may wait for its start' }),
    'x-fal-queue-priority': z.string().optional().openapi({ description: 'ignored' }),
    'x-fal-object-lifecycle-preference': z.string().optional().openapi({ description: 'ignored' }),
    'x-fal-store-io': z.string().optional().openapi({ description: 'ignored' }),
  }),
  body: foreignContent(falBody),
};

/** `{owner}/{app}` and up to two parts below it. */
export const APP_PATHS = [
  { below: '', parts: [] },
  { below: '/{path}', parts: ['path'] },
  { below: '/{path}/{more}', parts: ['path', 'more'] },
] as const;

/** Parameters of an address, each with a schema of its own. */
export const paramsOf = (names: readonly string[]) =>
  z.object(Object.fromEntries(['owner', 'app', ...names].map((name) => [name, z.string()])));

/** Where a request is submitted. */
export interface AppPath {
  readonly owner: string;
  readonly app: string;
  readonly path?: string;
  readonly more?: string;
}
