/** Values in the spellings that clients of other services use, read as what they mean. */
import { z } from '@hono/zod-openapi';
import type { IgnoredFields } from '../doors/ignored.ts';
import type { ImageFormat } from '../stage/contract.ts';

const YES = ['true', '1', 'yes', 'on'];
const NO = ['false', '0', 'no', 'off'];

/** `true`, `True`, `"1"`, 1: a boolean of another language, or of a query. What is none stays as it is. */
function readBoolean(value: unknown): unknown {
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

/** The formats of pictures, and what tools also call one of them. */
export const FORMATS = ['png', 'webp', 'jpeg'] as const satisfies readonly ImageFormat[];
export const JPG = { jpg: 'jpeg' } as const;

/** A word in lower case; empty, as tools send it for what was not chosen, is absent. */
const readWord = (value: unknown): unknown =>
  typeof value === 'string' ? value.trim().toLowerCase() || undefined : value;

/**
 * One of some lower-case words or of their other names, in any case; empty is absent.
 */
export const anyWord = <const W extends string>(words: readonly W[], others: Readonly<Record<string, W>> = {}) => {
  const read = (value: unknown): unknown => {
    const word = readWord(value);
    return typeof word === 'string' && Object.hasOwn(others, word) ? others[word] : word;
  };
  return z
    .preprocess(read, z.enum(words).optional())
    .optional()
    .openapi({ type: 'string', enum: [...words, ...Object.keys(others)] });
};

/** Lower-case text of at most `max` characters that fits a rule, in any case; empty is absent. */
export const anyText = (max: number, fits: (text: string) => boolean, rule: string) =>
  z
    .preprocess(readWord, z.string().max(max).refine(fits, rule).optional())
    .optional()
    .openapi({ type: 'string', maxLength: max });

/** Text; empty is absent. */
export const textOrEmpty = (max: number) =>
  z
    .preprocess((value) => (value === '' ? undefined : value), z.string().max(max).optional())
    .optional()
    .openapi({ type: 'string', maxLength: max });

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

/** Fields that are refused for a reason of their own where they ask for anything: an empty list or text does not. */
export const refusedFields = <T extends Readonly<Record<string, string>>>(fields: T) =>
  Object.fromEntries(
    Object.entries(fields).map(([name, why]) => [
      name,
      z
        .unknown()
        .optional()
        .refine((value) => value === undefined || value === '' || (Array.isArray(value) && value.length === 0), why)
        .openapi({ not: {}, description: `refused: ${why}` }),
    ]),
  ) as { readonly [Name in keyof T]: z.ZodOptional<z.ZodUnknown> };
