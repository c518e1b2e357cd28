/** Values in the spellings that clients of other services use, read as what they mean. */
import { z } from '@hono/zod-openapi';
import type { IgnoredFields } from '../doors/ignored.ts';

const YES = ['true', '1', 'yes', 'on'];
const NO = ['false', '0', 'no', 'off'];

/** `true`, `True`, `"1"`, 1: a boolean of another language, or of a query. What is none stays as it is. */
export function readBoolean(value: unknown): unknown {
  const text = String(value).trim().toLowerCase();
  if (YES.includes(text)) return true;
  return NO.includes(text) ? false : value;
}

/** A boolean in any spelling. */
export const anyBoolean = z.preprocess(readBoolean, z.boolean()).openapi({ type: 'boolean' });

/** One of some lower-case words, in any case. */
export const anyCase = <const T extends readonly [string, ...string[]]>(words: T) =>
  z
    .preprocess((value) => (typeof value === 'string' ? value.trim().toLowerCase() : value), z.enum(words))
    .openapi({ type: 'string', enum: [...words] });

/** Fields that are taken whatever they hold. */
export const ignoredFields = <T extends IgnoredFields>(fields: T) =>
  Object.fromEntries(
    Object.entries(fields).map(([name, { why }]) => [
      name,
      z
        .unknown()
        .optional()
        .openapi({ description: `ignored: ${why}` }),
    ]),
  ) as { readonly [Name in keyof T]: z.ZodOptional<z.ZodUnknown> };
