/** Schemas that say exactly what a type says. */
import { z } from '@hono/zod-openapi';

/** One schema for every field of `T`, and no other: a field that is in one of the two alone does not compile. */
export type SchemaFields<T> = { readonly [Field in keyof T]-?: z.ZodType<T[Field]> };

/** A type as JSON has it: what may be absent is absent or there, and nobody writes to it. */
type AsJson<T> = T extends readonly (infer Each)[]
  ? readonly AsJson<Each>[]
  : T extends object
    ? { readonly [Field in keyof T]: AsJson<Exclude<T[Field], undefined>> }
    : T;

type IsSame<A, B> = [A] extends [B] ? ([B] extends [A] ? ([keyof A] extends [keyof B] ? true : false) : false) : false;

/**
 * The schema, for the type that it describes: `exactly<JobView>()(z.object({…}))`. It does not compile where the schema
 * says more or less than the type, at any depth. Only the document is made of it: nothing of ours is checked when it
 * is sent.
 */
export const exactly =
  <T>() =>
  <S extends z.ZodType>(
    schema: IsSame<AsJson<z.output<S>>, AsJson<T>> extends true ? S : { readonly differsFrom: AsJson<T> },
  ): z.ZodType<T> =>
    schema as unknown as z.ZodType<T>;

/** A named schema or null. (`nullable` would make the schema of that name nullable wherever else it stands.) */
export const orNull = <T extends z.ZodType>(schema: T) => z.union([schema, z.null()]);
