/** Schemas that say exactly what a type says. Types only. */
import type { z } from 'zod';

/** One schema for every field of `T`, and no other: a field that is in one of the two alone does not compile. */
export type SchemaFields<T> = { readonly [Field in keyof T]-?: z.ZodType<T[Field]> };
