/** What a refusal looks like at each door, in the OpenAPI document. */
import { z } from '@hono/zod-openapi';
import type { OpenAIError } from '../../doors/openai.ts';
import type { viewProblem } from '../../doors/problem.ts';
import { speakFal } from '../fal/speak.ts';
import { speakOpenAI } from '../openai/speak.ts';
import { speakReplicate } from '../replicate/speak.ts';
import { exactly } from '../schema-fields.ts';
import { speakFastAPI } from '../speak-fastapi.ts';
import type { Speaker } from '../speakers.ts';

/** The shape of a door's errors. */
export interface ErrorShape {
  /** the door's name in the names of its responses; empty: our own */
  readonly door: string;
  readonly contentType: string;
  readonly schema: z.ZodType;
  /** as `schema` is called in the document */
  readonly schemaName: string;
  /** statuses of a request that is at fault */
  readonly badRequest: readonly ('400' | '422')[];
}

/** A value that was not there is left out. */
const fault = z.object({ field: z.string(), value: z.unknown().optional(), rule: z.string() });
type ProblemBody = Omit<ReturnType<typeof viewProblem>, 'status' | 'errors'> & {
  readonly status: number;
  readonly errors?: readonly z.infer<typeof fault>[];
};
const problemFields = z.object({
  type: z.string().openapi({ example: 'about:blank' }),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string(),
  errors: z.array(fault).optional(),
});
const problem = exactly<ProblemBody>()(
  problemFields.openapi('Problem', { description: 'RFC 9457; `errors` names the fields at fault' }),
);

const openAIError = exactly<{ readonly error: OpenAIError }>()(
  z
    .object({
      error: z.object({ message: z.string(), type: z.string(), param: z.string().nullable(), code: z.string() }),
    })
    .openapi('OpenAIError'),
);

const falError = z
  .object({
    detail: z.union([z.string(), z.array(z.object({ loc: z.array(z.string()), msg: z.string(), type: z.string() }))]),
    message: z.string(),
    error_type: z.string().optional(),
  })
  .openapi('FalError', { description: '`detail` is a sentence, or under 422 a list of the faults' });

const invalidField = z.object({ type: z.string(), field: z.string(), description: z.string() });
const replicateError = exactly<
  ProblemBody & {
    readonly invalid_fields?: readonly z.infer<typeof invalidField>[];
  }
>()(
  problemFields
    .extend({ invalid_fields: z.array(invalidField).optional() })
    .openapi('ReplicateError', { description: 'RFC 9457; `invalid_fields` names the fields at fault' }),
);

const fastAPIError = z
  .object({
    detail: z.union([z.string(), z.array(z.object({ loc: z.array(z.string()), msg: z.string(), type: z.string() }))]),
  })
  .openapi('FastAPIError');

const OURS: ErrorShape = {
  door: '',
  contentType: 'application/problem+json',
  schema: problem,
  schemaName: 'Problem',
  badRequest: ['400'],
};

/** A door that is not here has its refusals without a schema; a test names it. */
const SHAPES: readonly (readonly [Speaker, ErrorShape])[] = [
  [
    speakOpenAI,
    {
      door: 'OpenAI',
      contentType: 'application/json',
      schema: openAIError,
      schemaName: 'OpenAIError',
      badRequest: ['400'],
    },
  ],
  [
    speakReplicate,
    {
      door: 'Replicate',
      contentType: 'application/problem+json',
      schema: replicateError,
      schemaName: 'ReplicateError',
      badRequest: ['400', '422'],
    },
  ],
  [
    speakFastAPI,
    {
      door: 'FastAPI',
      contentType: 'application/json',
      schema: fastAPIError,
      schemaName: 'FastAPIError',
      badRequest: ['422'],
    },
  ],
  [
    speakFal,
    { door: 'Fal', contentType: 'application/json', schema: falError, schemaName: 'FalError', badRequest: ['422'] },
  ],
];

/** The shape that a speaker gives errors; null where it is not written down. */
export const shapeOf = (speaker: Speaker | undefined): ErrorShape | null =>
  speaker === undefined ? OURS : (SHAPES.find(([one]) => one === speaker)?.[1] ?? null);

/** All that is written down. */
export const ALL_SHAPES: readonly ErrorShape[] = [OURS, ...SHAPES.map(([, shape]) => shape)];
