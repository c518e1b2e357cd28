/**
 * The contract between the job object and a stage server: what goes out, what comes back, what a model says of itself.
 * Both sides import this file and nothing else of each other.
 */
import { z } from 'zod';
import { SOLVERS } from '../numerics/adams-bashforth.ts';
import type { FlopFacts } from '../numerics/flops.ts';
import { hasTokenGrid } from '../numerics/grid.ts';
import { CACHE_KINDS, type TemporalCache } from '../numerics/taylor.ts';
import { UPSAMPLE_MODES } from '../numerics/upsample.ts';

/**
 * Version of this contract. A server states the version it speaks with its models; one that states none speaks
 * version 1. Everything that came after version 1 is optional for both sides: a server names the features it
 * supports, and it is sent nothing else.
 */
export const CONTRACT_VERSION = 6;

/** Features that came after version 1, by the names under which a server states them. */
export const FEATURES = [
  'account_tag',
  'solver.ab2',
  'clean_latents',
  'cache.taylor_velocity',
  'cache.taylor_blocks',
  'late_preview',
  'enlarge',
  'thumbnail',
] as const;
export type Feature = (typeof FEATURES)[number];

const MAX_FEATURES = 64;
const MAX_MODELS = 256;
const MAX_ALIASES = 64;
const MAX_SIZES = 256;
const MAX_SHIFTS = 256;
const MAX_PRESETS = 32;
const MAX_PRESET_STAGES = 8;
const MAX_PRESET_STEPS = 1000;
/** shortest stage of a preset on the clock from 0 to 1, but for rounding */
const LEAST_STAGE = 0.001;
const MAX_SCRIPTS = 64;
/** Most words of each kind in a vocabulary, and the longest, characters. */
const MAX_WORDS = 2048;
const MAX_WORD = 100;
/** Most emoji that a model states names of, and the longest sequence, characters. */
const MAX_EMOJI = 2048;
const MAX_SEQUENCE = 64;
const MAX_EXAMPLES = 16;
const MAX_EXAMPLE = 500;
const MAX_WARNINGS = 64;
/** Longest name, and longest sentence, characters. */
const MAX_NAME = 200;
const MAX_TEXT = 2000;

const positiveInt = z.int().positive();
const name = z.string().min(1).max(MAX_NAME);
/** It travels in a header of the answer, where several are listed with commas. */
const engineClass = name.regex(/^[\x20-\x2b\x2d-\x7e]+$/, 'must be printable ASCII without commas');

/** Floating-point work of one model, 2 per multiply-add, as polynomials in the number of image tokens n. */
const flopFacts: z.ZodType<FlopFacts> = z.object({
  /**
   * one denoising step: `fixed + per_token * n + per_token_squared * n²`; the last term is attention between image
   * tokens
   */
  per_token: z.number().nonnegative(),
  per_token_squared: z.number().nonnegative(),
  fixed: z.number().nonnegative(),
  /**
   * the part of `per_token` and of `fixed` that is attention (image against text, text against text); left out of the
   * paper's figures
   */
  attention_per_token: z.number().nonnegative(),
  attention_fixed: z.number().nonnegative(),
  /** decoding, an image pixel; and encoding the prompt, a job */
  decode_per_pixel: z.number().nonnegative(),
  text: z.number().nonnegative(),
});

/**
 * The guidance a model accepts, or null where it takes none. `embedded`: the number is an input of the model, which is
 * evaluated once a step. `cfg`, classifier-free guidance: above 1 each step evaluates the model twice, for the prompt
 * and the negative prompt, and at 1 or below once.
 */
const guidance = z
  .object({
    kind: z.enum(['embedded', 'cfg']).default('embedded'),
    min: z.number(),
    max: z.number(),
    default: z.number(),
  })
  .nullable();

/**
 * Sizes by rule, beside the list: width and height are multiples of `multiple`, width * height lies between
 * `min_pixels` and `max_pixels`, and the longer side is at most `max_aspect` times the shorter.
 */
const sizeRule = z
  .object({
    multiple: positiveInt,
    min_pixels: positiveInt,
    max_pixels: positiveInt,
    max_aspect: z.number().min(1),
  })
  .refine(({ min_pixels, max_pixels }) => min_pixels <= max_pixels, {
    path: ['max_pixels'],
    error: 'must not be below min_pixels',
  });

/** A schedule of a model's own: steps and ends of its stages, and the shares of tokens upsampled early between them. */
const modelPreset = z
  .object({
    name,
    N: z.array(positiveInt).min(2).max(MAX_PRESET_STAGES),
    e: z.array(z.number().positive()).max(MAX_PRESET_STAGES),
    r: z.array(z.number().min(0).max(1)).max(MAX_PRESET_STAGES),
  })
  .refine(({ N, e }) => e.length === N.length, { path: ['e'], error: 'must have as many values as N' })
  .refine(({ N }) => N.reduce((sum, steps) => sum + steps, 0) <= MAX_PRESET_STEPS, {
    path: ['N'],
    error: `must not be more than ${MAX_PRESET_STEPS} steps together`,
  })
  .refine(({ e }) => e.at(-1) === 1 && e.every((end, k) => end - (e[k - 1] ?? 0) >= LEAST_STAGE * (1 - 1e-9)), {
    path: ['e'],
    error: `must rise to 1, by at least ${LEAST_STAGE} each time`,
  })
  .refine(({ N, r }) => r.length === N.length - 2, { path: ['r'], error: 'must have two values less than N' })
  .refine(({ r }) => r.every((share, k) => share >= (r[k - 1] ?? 0)), { path: ['r'], error: 'must not fall' });

/** A text to show and to put into a prompt: at most `max` characters on one line, without spaces around it. */
const line = (max: number) =>
  z
    .string()
    .max(max)
    .regex(/^\S(.*\S)?$/, 'must be one line without spaces around it');

const areDifferent = (values: readonly string[]): boolean => new Set(values).size === values.length;

const words = z.array(line(MAX_WORD)).max(MAX_WORDS).refine(areDifferent, 'words must differ');

/** Words that a model has learned, by what they say; a list is empty where it has no such words. */
const vocabulary = z.object({ objects: words, colours: words, backgrounds: words, counts: words });

/** Emoji and what they are read as: without skin tones, and without U+FE0F unless it is no emoji without. */
const emoji = z
  .record(z.string().min(1).max(MAX_SEQUENCE), line(MAX_WORD))
  .refine((names) => Object.keys(names).length <= MAX_EMOJI, `must have at most ${MAX_EMOJI} emoji`);

/**
 * What a stage server says of one model at `GET /v1/models`. Everything the plan needs, so the Worker knows no model by
 * name. The rule `checkSizes` belongs to it.
 */
export const modelFacts = z.object({
  id: name,
  aliases: z.array(name).max(MAX_ALIASES),
  /**
   * what models it is one of, `flux.1` or `sd3`: published schedules belong to a family and its plain steps. Null:
   * nothing is published for it
   */
  family: name.nullable().default(null),
  /** latent channels; a token holds 4 * channels values */
  channels: positiveInt,
  /** image pixels a full-resolution token covers on each side */
  token_pixels: positiveInt,
  /**
   * sizes offered, pixels; the first is the default. Each side is a multiple of `token_pixels`. Where the grid of
   * tokens has an odd side there is no grid of half the size, so such a size is for plain runs only
   */
  sizes: z
    .array(z.object({ width: positiveInt, height: positiveInt }))
    .min(1)
    .max(MAX_SIZES),
  /** other sizes that it makes; null: those of the list only */
  size_rule: sizeRule.nullable().default(null),
  /** how one token may become four; the first is what a job gets that names none */
  upsampling: z
    .array(z.enum(UPSAMPLE_MODES))
    .min(1)
    .refine(areDifferent, 'modes must differ')
    .default([...UPSAMPLE_MODES]),
  /** the kinds of temporal cache that it can be run with; the first is what a preset with a cache gets */
  caches: z.array(z.enum(CACHE_KINDS)).refine(areDifferent, 'kinds must differ').default(['taylor_velocity']),
  /**
   * the model's own shift at rising full-resolution token counts, at its own plain steps; between two points log(shift)
   * is linear in tokens, one point is a constant
   */
  shift: z
    .array(z.object({ tokens: positiveInt, shift: z.number().positive() }))
    .min(1)
    .max(MAX_SHIFTS)
    .refine(
      (points) => points.every(({ tokens }, i) => i === 0 || tokens > (points[i - 1]?.tokens ?? 0)),
      'tokens must rise',
    ),
  /** steps of the plain full-resolution run that everything is compared with */
  steps: positiveInt,
  /**
   * schedules of its own beside those published for its family and steps, the most careful first. A job gets one
   * by its name; where nothing is published for the model, the last is what a job gets that names none
   */
  presets: z
    .array(modelPreset)
    .max(MAX_PRESETS)
    .refine((presets) => areDifferent(presets.map((preset) => preset.name)), 'names must differ')
    .optional(),
  guidance,
  negative_prompt: z.boolean(),
  /** longest prompt in the model's own text tokens, and most image tokens a stage may have */
  text_tokens: positiveInt,
  max_tokens: positiveInt,
  /** scripts that the model reads, as values of Unicode's property Script, `Latin`; null: it does not say */
  scripts: z
    .array(
      z
        .string()
        .max(MAX_NAME)
        .regex(/^[A-Z][A-Za-z_]*$/, 'must be a script as Unicode names it, such as Latin'),
    )
    .min(1)
    .max(MAX_SCRIPTS)
    .nullable()
    .default(null),
  /** what it can draw, for those who write prompts; a model that reads any text states none */
  vocabulary: vocabulary.optional(),
  /** what it reads emoji as, of those whose names are made of words of its vocabulary */
  emoji: emoji.optional(),
  /** prompts to begin with, that it follows well */
  examples: z.array(line(MAX_EXAMPLE)).min(1).max(MAX_EXAMPLES).refine(areDifferent, 'prompts must differ').optional(),
  /** with guidance `cfg` both evaluations of a step and both texts are counted */
  flops: flopFacts,
  /** SHA-256 over everything that decides the model's output */
  digest: name,
  licence: z.string().max(MAX_TEXT),
  card: z.string().max(MAX_TEXT),
});
export type ModelFacts = z.infer<typeof modelFacts>;

/**
 * The rules between fields of facts, for a schema's `superRefine`: a size is a whole number of tokens, whether it is
 * listed or allowed by rule, and the model takes as many tokens as the largest size by rule has. Where the number on a
 * side is odd, the size is for the plain run alone.
 */
export function checkSizes(
  {
    sizes,
    size_rule,
    token_pixels,
    max_tokens,
  }: Pick<ModelFacts, 'sizes' | 'size_rule' | 'token_pixels' | 'max_tokens'>,
  context: z.RefinementCtx,
): void {
  for (const [i, size] of sizes.entries()) {
    if (!hasTokenGrid(size, token_pixels))
      context.addIssue({
        code: 'custom',
        path: ['sizes', i],
        message: `${size.width}x${size.height} must have sides that are multiples of token_pixels, ${token_pixels}`,
      });
  }
  if (!size_rule) return;
  if (size_rule.multiple % token_pixels !== 0)
    context.addIssue({
      code: 'custom',
      path: ['size_rule', 'multiple'],
      message: `${size_rule.multiple} must be a multiple of token_pixels, ${token_pixels}`,
    });
  const most = max_tokens * token_pixels ** 2;
  if (size_rule.max_pixels > most)
    context.addIssue({
      code: 'custom',
      path: ['size_rule', 'max_pixels'],
      message: `${size_rule.max_pixels} must not be above ${most}: max_tokens is ${max_tokens}`,
    });
}

/** A model as one server has it: the facts, and what decides that server's bytes beside the model's digest. */
export const servedFacts = modelFacts.extend({
  /**
   * what computes: runtime with version, device, instruction set and threads, or for a GPU its model, dtype and library
   * versions. Two servers that state the same class compute alike. Null: an older server, which does not say
   */
  engine_class: engineClass.nullable().default(null),
  /** whether servers of this class give the same latents and pixels, bit for bit, for the same request */
  deterministic: z.boolean().default(false),
});
export type ServedFacts = z.infer<typeof servedFacts>;

/** The answer of `GET /v1/models`. Names of features that are not known here are kept: a newer server may have them. */
export const modelList = z.object({
  contract: z
    .object({ version: z.int().min(1), features: z.array(name).max(MAX_FEATURES) })
    .default({ version: 1, features: [] }),
  models: z.array(servedFacts.superRefine(checkSizes)).max(MAX_MODELS),
});
export type ModelList = z.infer<typeof modelList>;

export const imageFormat = z.enum(['png', 'webp', 'jpeg']);
export type ImageFormat = z.infer<typeof imageFormat>;

/**
 * Largest preview a stage server may answer with, bytes; it travels inside an event, in base64. 512 x 512 pixels fit as
 * PNG whatever they show, so no picture of a job has to shrink.
 */
export const MAX_PREVIEW_BYTES = 800 * 1024;
/** Longest side of a thumbnail of a stage that runs, pixels, and the largest file that it may be. */
export const THUMBNAIL_SIDE = 96;
export const MAX_THUMBNAIL_BYTES = 4096;
/** Headers of a thumbnail: the step that it shows, from 1, and its size as `96x64`. */
export const STEP_HEADER = 'x-stage-step';
export const SIZE_HEADER = 'x-stage-size';

/**
 * Largest stage request or response message, bytes: 4096 tokens of 64 values and a 4-megapixel image fit several times.
 */
export const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

/** Longest side of a finished image that a stage server is asked to make another size of, pixels. */
export const MAX_ENLARGED_SIDE = 2048;

const decodeKind = z.enum(['none', 'clean', 'image']);

export const solver = z.enum(SOLVERS);

/**
 * Temporal cache of one stage, empty at its start: the first `warmup` steps are evaluated and after them every
 * `interval`-th; in the others the velocity, or inside the model the features of its blocks, are forecast from the
 * evaluated ones, with differences up to `order` (src/numerics/taylor.ts).
 */
export const temporalCache = z.strictObject({
  kind: z.enum(CACHE_KINDS),
  interval: z.int().min(2).max(100),
  order: z.int().min(0).max(4),
  warmup: z.int().min(1).max(1000),
}) satisfies z.ZodType<TemporalCache>;

const enlargedSide = positiveInt.max(MAX_ENLARGED_SIDE);

const previewOptions = z.object({ format: imageFormat, longest_side: z.int().min(16).max(1024) });

/** `__metadata__` of a stage request once its JSON values are parsed. The tensors are in `StageTensors`. */
export const stageOptions = z.strictObject({
  model: z.string().min(1),
  prompt: z.string().max(32_000),
  negative_prompt: z.string().max(32_000),
  /** null where the model has no guidance */
  guidance: z.number().nullable(),
  /** pixels of the final image, whatever grid this stage runs on */
  width: positiveInt,
  height: positiveInt,
  /** `clean`: the clean estimate, at half size unless ids count full tokens; `image`: the image, encoded */
  decode: decodeKind,
  /**
   * whether the pixels of a clean estimate come back: only the stage before the selection needs them, and at 1024² they
   * are 3 MiB
   */
  rgb: z.boolean(),
  format: imageFormat,
  quality: z.int().min(1).max(100),
  preview: previewOptions.nullable(),
  /** feature `cache.` and its kind: null evaluates every step. Not with `solver` ab2 */
  cache: temporalCache.nullable(),
  traceparent: z.string(),
  /**
   * feature `account_tag`: an opaque name for whose stage this is, always the same for one account. A server may keep
   * caches apart and share its time by it
   */
  account_tag: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must have 1 to 64 letters, digits, dashes and underscores')
    .optional(),
  /** feature `solver.ab2`: absent is `euler` */
  solver: solver.optional(),
  /** feature `clean_latents`: whether the latents of the clean estimate come back, as the tensor of that name */
  clean_latents: z.boolean().optional(),
  /**
   * feature `late_preview`: the preview comes in a message of its own behind `done`, which does not wait for it. Needs
   * a preview and `decode` clean
   */
  late_preview: z.boolean().optional(),
  /**
   * feature `enlarge`: the finished image is encoded at this size, larger or smaller, by Lanczos; what does not fit its
   * aspect ratio is cut off on both sides. Needs `decode` image
   */
  enlarge: z.strictObject({ width: enlargedSide, height: enlargedSide }).optional(),
});
export type StageOptions = z.infer<typeof stageOptions>;

/** The features without which a server would compute, or answer, something else than these options ask for. */
export const neededFeatures = ({
  solver,
  clean_latents,
  cache,
  enlarge,
}: Pick<StageOptions, 'solver' | 'clean_latents' | 'cache' | 'enlarge'>): readonly Feature[] => [
  ...(solver === 'ab2' ? (['solver.ab2'] as const) : []),
  ...(clean_latents ? (['clean_latents'] as const) : []),
  ...(cache ? [`cache.${cache.kind}` as const] : []),
  ...(enlarge ? (['enlarge'] as const) : []),
];

/**
 * The options that a server with these features may be sent. What is left out changes no number of the stage. An option
 * that does is never left out: a server without it is not chosen (src/fleet/choose.ts). Throws RangeError for a server
 * that lacks such a feature.
 */
export function optionsFor(options: StageOptions, features: readonly string[]): StageOptions {
  const { account_tag, solver, clean_latents, late_preview, enlarge, ...always } = options;
  const missing = neededFeatures(options).find((feature) => !features.includes(feature));
  if (missing) throw new RangeError(`features are [${features}]; expected ${missing} among them`);
  return {
    ...always,
    ...(account_tag !== undefined && features.includes('account_tag') && { account_tag }),
    ...(solver !== undefined && features.includes('solver.ab2') && { solver }),
    ...(clean_latents !== undefined && features.includes('clean_latents') && { clean_latents }),
    ...(late_preview !== undefined && features.includes('late_preview') && { late_preview }),
    ...(enlarge !== undefined && features.includes('enlarge') && { enlarge }),
  };
}

/**
 * The options without those that change no number: what is sent where a server refuses a feature that its list still
 * names.
 */
export function plainOptions({ account_tag: _, late_preview: __, ...needed }: StageOptions): StageOptions {
  return needed;
}

/** The tensors of a stage request: D = 4 * channels values a token, rows in the order of `imgIds`. */
export interface StageTensors {
  /** [n, D] latents at sigmas[0] */
  readonly latents: Float32Array;
  /** [n, 3] position ids (0, row, col), floats */
  readonly imgIds: Float32Array;
  /** [n] full-resolution tokens a side this token stands for: 1 or 2 */
  readonly scale: Uint8Array;
  /** [N + 1] strictly decreasing noise levels in [0, 1] */
  readonly sigmas: Float32Array;
}

/**
 * Codes of an `error` message: why a stage that was begun, or its late preview, came to nothing. A server may add its
 * own.
 */
export const STAGE_ERROR_CODES = ['model_failed', 'orphaned', 'draining', 'not_finite', 'cancelled'] as const;
export type StageErrorCode = (typeof STAGE_ERROR_CODES)[number];
export const isStageErrorCode = (code: string): code is StageErrorCode =>
  STAGE_ERROR_CODES.some((known) => known === code);

/** `__metadata__` of each message of a stage response, JSON values parsed. */
export const stageEvent = z.discriminatedUnion('event', [
  z.object({ event: z.literal('queued'), position: z.int().nonnegative(), eta_ms: z.number().nonnegative() }),
  z.object({
    event: z.literal('step'),
    step: positiveInt,
    steps: positiveInt,
    sigma: z.number(),
    ms: z.number().nonnegative(),
  }),
  z.object({
    event: z.literal('done'),
    /** milliseconds of denoising alone; text, decode and encode are beside it */
    compute_ms: z.number().nonnegative(),
    encode_text_ms: z.number().nonnegative(),
    decode_ms: z.number().nonnegative(),
    encode_ms: z.number().nonnegative(),
    steps_done: positiveInt,
    /** how many of them were evaluated; a server must say it of a stage with a cache */
    evaluations: positiveInt.optional(),
    /** text tokens that each step computed with, padding included; absent from a server of version 1 */
    text_tokens: z.int().nonnegative().optional(),
    /** the engine class that computed, as `/v1/models` states it */
    engine: engineClass,
    model_digest: name,
    /** sentences for the caller: words skipped, text cut */
    warnings: z.array(z.string().max(MAX_TEXT)).max(MAX_WARNINGS),
  }),
  z.object({
    /** behind `done`, to a request with `late_preview` alone: the picture, and milliseconds spent on it since `done` */
    event: z.literal('preview'),
    decode_ms: z.number().nonnegative(),
    encode_ms: z.number().nonnegative(),
  }),
  z.object({ event: z.literal('error'), code: name, message: z.string(), retryable: z.boolean() }),
]);
export type StageEvent = z.infer<typeof stageEvent>;
export type StageDone = Extract<StageEvent, { event: 'done' }>;
export type StagePreview = Extract<StageEvent, { event: 'preview' }>;

/**
 * Metadata as strings: text stays as it is, everything else becomes JSON. Law: `parseMetadata(toMetadata(x))` equals
 * `x` where no text looks like JSON.
 */
export function toMetadata(values: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)]),
  );
}

/**
 * Metadata back as values; the keys named in `texts` are left as the strings they are. Throws SyntaxError when another
 * value is not JSON.
 */
export function parseMetadata(
  metadata: Readonly<Record<string, string>>,
  texts: readonly string[],
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(metadata).map(([key, value]) => [key, texts.includes(key) ? value : JSON.parse(value)]),
  );
}

/** Keys that are text and never JSON, on each side. */
export const REQUEST_TEXTS = [
  'model',
  'prompt',
  'negative_prompt',
  'decode',
  'format',
  'traceparent',
  'account_tag',
  'solver',
] as const;
export const EVENT_TEXTS = ['event', 'engine', 'model_digest', 'code', 'message'] as const;

/** What a refused or failed stage request answers with, beside its HTTP status. */
export const stageProblem = z.object({
  code: name,
  message: z.string(),
  /** the field at fault, dotted, where there is one */
  field: z.string().optional(),
});
export type StageProblem = z.infer<typeof stageProblem>;
