/**
 * Version 2 of the stage contract as a reader knows it that speaks nothing newer: what a server says of itself. A
 * record: what is here does not change, whatever becomes of src/stage/contract.ts.
 */
import { z } from 'zod';

const positiveInt = z.int().positive();
const name = z.string().min(1).max(200);
const line = (max: number) =>
  z
    .string()
    .max(max)
    .regex(/^\S(.*\S)?$/);
const words = z.array(line(100)).max(2048);

const servedFacts = z.object({
  id: name,
  aliases: z.array(name).max(64),
  channels: positiveInt,
  token_pixels: positiveInt,
  sizes: z
    .array(z.object({ width: positiveInt, height: positiveInt }))
    .min(1)
    .max(256),
  shift: z
    .array(z.object({ tokens: positiveInt, shift: z.number().positive() }))
    .min(1)
    .max(256),
  steps: positiveInt,
  presets: z
    .array(z.object({ name, N: z.array(positiveInt), e: z.array(z.number()), r: z.array(z.number()) }))
    .max(32)
    .optional(),
  guidance: z.object({ min: z.number(), max: z.number(), default: z.number() }).nullable(),
  negative_prompt: z.boolean(),
  text_tokens: positiveInt,
  max_tokens: positiveInt,
  scripts: z.array(z.string()).min(1).max(64).nullable().default(null),
  vocabulary: z.object({ objects: words, colours: words, backgrounds: words, counts: words }).optional(),
  examples: z.array(line(500)).min(1).max(16).optional(),
  flops: z.object({
    per_token: z.number().nonnegative(),
    per_token_squared: z.number().nonnegative(),
    fixed: z.number().nonnegative(),
    attention_per_token: z.number().nonnegative(),
    attention_fixed: z.number().nonnegative(),
    decode_per_pixel: z.number().nonnegative(),
    text: z.number().nonnegative(),
  }),
  digest: name,
  licence: z.string().max(2000),
  card: z.string().max(2000),
  engine_class: name.nullable().default(null),
  deterministic: z.boolean().default(false),
});

/** The answer of `GET /v1/models`. */
export const modelList2 = z.object({
  contract: z.object({ version: z.int().min(1), features: z.array(name).max(64) }),
  models: z.array(servedFacts).max(256),
});
