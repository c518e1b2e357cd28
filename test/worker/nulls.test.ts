/** Null is as good as absent in every field of every foreign body, and in none of ours. */
import { describe, expect, test } from 'vitest';
import type { z } from 'zod';
import { createApp } from '../../src/app.ts';
import { call, post } from './call.ts';

/** Ours are strict: null is a value, where a field has it. */
const OURS = /^\/v1\/(?:jobs|accounts?)(?:\/|$)/;
/** Bodies of settings, and of a file: neither asks for a picture. */
const FEW_FIELDS: readonly string[] = ['/sdapi/v1/options', '/sdapi/v1/png-info'];

type Body = Readonly<Record<string, unknown>>;
type Path = readonly string[];

/** A schema without what is wrapped around it. */
function bare(schema: z.ZodType): z.ZodType {
  const { def } = schema as unknown as { def: { type: string; innerType?: z.ZodType; out?: z.ZodType } };
  const inner = def.type === 'pipe' ? def.out : def.innerType;
  return inner ? bare(inner) : schema;
}

/** Where the fields of a body are, at every depth. */
function fieldsOf(schema: z.ZodType, at: Path = []): readonly Path[] {
  const { shape } = bare(schema) as unknown as { shape?: Readonly<Record<string, z.ZodType>> };
  return Object.entries(shape ?? {}).flatMap(([name, each]) => [[...at, name], ...fieldsOf(each, [...at, name])]);
}

/** The body with the field set, or without it where `value` is undefined. */
function set(body: Body, [name = '', ...rest]: Path, value: unknown): Body {
  if (rest.length > 0) return { ...body, [name]: set((body[name] ?? {}) as Body, rest, value) };
  const { [name]: _, ...others } = body;
  return value === undefined ? others : { ...others, [name]: value };
}

/** The bodies of other services' requests, as the routes check them. */
const foreign = createApp().openAPIRegistry.definitions.flatMap((definition) => {
  if (definition.type !== 'route') return [];
  const { path, request } = definition.route;
  const content = request?.body?.content['application/json'];
  const schema = content && 'schema' in content ? (content.schema as z.ZodType) : undefined;
  return schema && !OURS.test(path) && !FEW_FIELDS.includes(path) ? [{ path, schema }] : [];
});

/**
 * Bodies that are refused twice over when they are planned, for size and preset. So every field can be sent as null and
 * left out, all the way through, and no job comes of it.
 */
function refusedBody(path: string): Body {
  const common = { prompt: 'a fox', seed: 7 };
  if (path.startsWith('/fal')) return { ...common, image_size: { width: 16, height: 16 }, preset: '9x' };
  if (path.startsWith('/sdapi')) return { ...common, tiling: true, batch_size: 2, n_iter: 100, width: 1 };
  if (path.startsWith('/bfl')) return { ...common, mask: 'x', webhook_url: 'x' };
  if (path.endsWith('/predictions')) return { input: { ...common, width: 16, height: 16, preset: '9x' } };
  return { ...common, size: '16x16', ralu: { preset: '9x' } };
}

/** The address of a path's first model. */
async function addressOf(path: string): Promise<string> {
  const { data } = await (await call('/v1/models')).json<{ data: { id: string }[] }>();
  const id = data[0]?.id as string;
  return path
    .replace('{owner}', 'ralu')
    .replace('{name}', id)
    .replace('{app}', id)
    .replace('{path}', 'text')
    .replace('{more}', 'to-image')
    .replace('{deployment}', id)
    .replace('{model}', id);
}

/** Status and text of an answer; a fault may say which of the two came. */
async function answer(address: string, body: Body): Promise<readonly [number, string]> {
  const response = await post(address, body);
  const text = (await response.text()).replaceAll('got null', 'got nothing').replaceAll('"value":null,', '');
  return [response.status, text];
}

test('every door is looked at', () => {
  expect(foreign.map(({ path }) => path)).toEqual(
    expect.arrayContaining([
      '/v1/images/generations',
      '/v1/predictions',
      '/v1/models/{owner}/{name}/predictions',
      '/fal/queue/{owner}/{app}',
      '/sdapi/v1/txt2img',
      '/bfl/v1/{model}',
    ]),
  );
  for (const { path, schema } of foreign) expect(fieldsOf(schema).length, path).toBeGreaterThan(15);
});

// routes that share one contract share one schema
const firsts = foreign.filter(({ schema }, i) => foreign.findIndex((other) => other.schema === schema) === i);
const fields = firsts.flatMap(({ path, schema }) =>
  fieldsOf(schema).map((field) => [`${path} ${field.join('.')}`, path, schema, field] as const),
);

describe('a field that is null and one that is left out get the same answer', () => {
  test.each(fields)('%s', async (_, path, schema, field) => {
    const [given, absent] = [null, undefined].map((value) => set(refusedBody(path), field, value)) as [Body, Body];
    expect(schema.safeParse(given)).toStrictEqual(schema.safeParse(absent));
    const address = await addressOf(path);
    const [status, text] = await answer(address, given);
    expect([400, 422]).toContain(status);
    expect([status, text]).toEqual(await answer(address, absent));
  });

  test('also where OpenAI has a field and this service has not', async () => {
    const body = refusedBody('/v1/images/generations');
    const expected = await answer('/v1/images/generations', body);
    for (const field of ['style', 'complexity', 'frame_count', 'frame_duration_ms', 'svg', 'colour'])
      expect(await answer('/v1/images/generations', { ...body, [field]: null }), field).toEqual(expected);
  });
});

test('a null in a list is not left out', async () => {
  const input = { prompt: 'a fox', N: [null, 2], e: [1] };
  const response = await post('/v1/predictions', { input });
  expect(response.status).toBe(422);
  expect(await response.json()).toMatchObject({ errors: [{ field: 'input.N.0', value: null }] });
});

test('our own bodies are strict', async () => {
  for (const path of ['/v1/jobs', '/v1/jobs/quote']) {
    const response = await post(path, { prompt: 'a fox', seed: null });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ errors: [{ field: 'seed', value: null }] });
  }
});

test('a job asked for with nothing but nulls beside its prompt is the job asked for without them', async () => {
  const ask = async (input: Body): Promise<Body> => {
    const response = await post('/v1/predictions', { input, version: null, webhook: null, stream: null });
    expect(response.status).toBe(201);
    const { id, input: taken } = await response.json<{ id: string; input: Body }>();
    await call(`/v1/jobs/${id}`, { method: 'DELETE' });
    return taken;
  };
  const bare = { prompt: 'a fox', seed: 7 };
  const everything = {
    ...bare,
    width: null,
    height: null,
    preset: null,
    N: null,
    guidance: null,
    output_format: null,
    preview: null,
  };
  expect(await ask(everything)).toEqual(await ask(bare));
});
