/** What OpenAI's answers look like, for the OpenAPI document. */
import { z } from '@hono/zod-openapi';
import type { viewAnswer, viewTask } from '../../doors/openai.ts';
import { IMAGE_CONTENT } from '../image-content.ts';
import { exactly, orNull } from '../schema-fields.ts';
import { enlargedOrNull } from '../schemas/job.ts';
import { costOrNull, warnings } from '../schemas/work.ts';

type Answer = ReturnType<typeof viewAnswer>;
type Task = ReturnType<typeof viewTask>;

const tokens = z.object({ image_tokens: z.int(), text_tokens: z.int() });
const usage = exactly<Answer['usage']>()(
  z
    .object({
      input_tokens: z.int(),
      input_tokens_details: tokens,
      output_tokens: z.int(),
      output_tokens_details: tokens,
      total_tokens: z.int(),
      cost: z.number().optional().openapi({ description: 'dollars' }),
    })
    .openapi('ImageUsage'),
);

const method = exactly<Answer['ralu']>()(
  z
    .object({
      job_id: z.string(),
      job_ids: z.array(z.string()),
      seeds: z.array(z.int()),
      model: z.string(),
      preset: z.string().nullable(),
      stages: z.array(
        z.object({ image_index: z.int(), stage: z.int(), tokens: z.int(), steps: z.int(), ms: z.number() }),
      ),
      tflops: z.number(),
      tflops_plain: z.number(),
      warnings,
      engine: z.string(),
      cost: costOrNull,
      enlarged: enlargedOrNull,
    })
    .openapi('ImageMethod', { description: 'what the method did for the images' }),
);

const image = z.object({ b64_json: z.string().optional(), url: z.string().optional() });
const answerFields = {
  created: z.int(),
  data: z.array(image),
  warnings: warnings.optional(),
  size: z.string(),
  quality: z.string(),
  background: z.literal('opaque'),
  output_format: z.string(),
  safety_identifier: z.string().optional(),
  usage,
  ralu: method,
};
const answer = z.object(answerFields).openapi('ImageAnswer') as unknown as z.ZodType<Answer>;

/** While it goes on it has no more than its ids; once it is completed it has the fields of the answer. */
const task = z
  .object({
    ...z.object(answerFields).partial().shape,
    created: z.int(),
    data: z.array(image),
    id: z.string(),
    task_id: z.string(),
    object: z.literal('image.generation'),
    status: z.enum(['queued', 'in_progress', 'completed', 'failed', 'cancelled']),
    progress: z.int().openapi({ description: 'percent' }),
    error: orNull(z.object({ message: z.string(), type: z.string(), param: z.string().nullable(), code: z.string() })),
    ralu: z.looseObject({ job_id: z.string(), job_ids: z.array(z.string()), seeds: z.array(z.int()) }),
  })
  .openapi('ImageTask') as unknown as z.ZodType<Task>;

const json = <T extends z.ZodType>(description: string, schema: T) => ({
  description,
  content: { 'application/json': { schema } },
});
export const oneTask = (description: string) => json(description, task);

/** Answers to a request for images. */
export const drawn = {
  200: {
    description: 'The images; with stream their stages as server-sent events; with Accept: image/* the bytes',
    content: {
      'application/json': { schema: answer },
      'text/event-stream': { schema: z.string() },
      ...IMAGE_CONTENT,
    },
  },
  202: oneTask('With Prefer: respond-async: the task, whose address is in Location'),
  410: { description: 'The job was cancelled' },
};
