/** Answers to requests made to be expensive stay small, at every door. */
import { describe, expect, test } from 'vitest';
import { ADMIN_KEY, call, createJob, openAccount, SMALL } from './call.ts';

/** An answer that refuses has at most so many bytes, whatever it was sent. */
const MOST_BYTES = 16 * 1024;
const MOST_FAULTS = 20;

interface Told {
  readonly status: number;
  readonly bytes: number;
  /** in our own shape and in fal's */
  readonly faults: readonly object[];
  readonly text: string;
}

async function send(path: string, body: unknown, key?: string): Promise<Told> {
  const response = await call(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...(key !== undefined && { key }),
  });
  const text = await response.text();
  const { errors, detail } = JSON.parse(text) as { errors?: object[]; detail?: unknown };
  const faults = errors ?? (Array.isArray(detail) ? (detail as object[]) : []);
  return { status: response.status, bytes: text.length, faults, text };
}

/** A door that takes a body, with where fields are put in it. */
interface Door {
  readonly path: string;
  readonly wrap: (fields: object) => object;
  readonly key?: string;
}

const DOORS: readonly Door[] = [
  { path: '/v1/jobs', wrap: (fields) => ({ prompt: 'a fox', ...fields }) },
  { path: '/v1/jobs/quote', wrap: (fields) => ({ prompt: 'a fox', ...fields }) },
  { path: '/v1/images/generations', wrap: (fields) => ({ prompt: 'a fox', ...fields }) },
  { path: '/v1/images/generations', wrap: (fields) => ({ prompt: 'a fox', ralu: fields }) },
  { path: '/v1/predictions', wrap: (fields) => ({ input: { prompt: 'a fox' }, ...fields }) },
  { path: '/v1/predictions', wrap: (fields) => ({ input: { prompt: 'a fox', ...fields } }) },
  { path: '/v1/models/ralu/fluent-scenes/predictions', wrap: (fields) => ({ input: { prompt: 'a fox' }, ...fields }) },
  { path: '/fal/queue/ralu/fluent-scenes', wrap: (fields) => ({ prompt: 'a fox', ...fields }) },
  { path: '/fal/run/ralu/fluent-scenes', wrap: (fields) => ({ prompt: 'a fox', ...fields }) },
  { path: '/v1/accounts', wrap: (fields) => ({ name: 'a', ...fields }), key: ADMIN_KEY },
  { path: '/v1/accounts', wrap: (fields) => ({ name: 'a', limits: fields }), key: ADMIN_KEY },
  { path: '/v1/accounts/acct_0123456789abcdef/keys', wrap: (fields) => ({ name: 'a', ...fields }), key: ADMIN_KEY },
];

const unknown = (count: number, name = (i: number) => `field_${i}`): object =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [name(i), 1]));
const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);

describe.each(DOORS)('$path', ({ path, wrap, key }) => {
  test('30,000 unknown fields get a small answer with one fault', async () => {
    const { status, bytes, faults, text } = await send(path, wrap(unknown(30_000, (i) => i.toString(36))), key);
    expect([400, 422]).toContain(status);
    expect(bytes).toBeLessThan(MOST_BYTES);
    expect(faults.length).toBeLessThanOrEqual(1);
    expect(text).toContain('must have at most 100 fields');
  });

  test('of 90 unknown fields 20 are told and the others counted', async () => {
    const { bytes, faults, text } = await send(path, wrap(unknown(90)), key);
    expect(bytes).toBeLessThan(MOST_BYTES);
    expect(faults.length).toBeLessThanOrEqual(MOST_FAULTS);
    expect(text).toContain('field_19');
    expect(text).not.toContain('field_20');
  });

  test('names and values of 2,000 characters are not repeated whole', async () => {
    const long = 'x'.repeat(2000);
    const fields = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`${i}${long}`, long]));
    const { bytes, faults, text } = await send(path, wrap(fields), key);
    expect(bytes).toBeLessThan(MOST_BYTES);
    expect(faults.length).toBeLessThanOrEqual(MOST_FAULTS);
    expect(text).not.toContain('x'.repeat(200));
  });

  test('87,000 values in a list, and 2,000 in many, get a small answer', async () => {
    for (const list of [
      { N: Array(87_000).fill(1) },
      Object.fromEntries(Array.from({ length: 90 }, (_, i) => [`f${i}`, Array(90).fill('x')])),
    ]) {
      const { status, bytes, faults } = await send(path, wrap(list), key);
      expect([400, 422]).toContain(status);
      expect(bytes).toBeLessThan(MOST_BYTES);
      expect(faults.length).toBeLessThanOrEqual(1);
    }
  });

  test('100,000 levels get a small answer', async () => {
    for (const body of [nested(100_000), `{"prompt": ${nested(100_000)}}`, '{"a":'.repeat(40_000)]) {
      const { status, bytes } = await send(path, body, key);
      expect([400, 422]).toContain(status);
      expect(bytes).toBeLessThan(MOST_BYTES);
    }
  });
});

test('87,000 entries in webhook_events_filter, and the right ones many times, are refused in a few bytes', async () => {
  for (const webhook_events_filter of [Array(87_000).fill(1), Array(90).fill(1), Array(90).fill('completed')]) {
    const { status, bytes, faults } = await send('/v1/predictions', {
      input: { prompt: 'a fox' },
      webhook_events_filter,
    });
    expect(status).toBe(422);
    expect(bytes).toBeLessThan(MOST_BYTES);
    expect(faults.length).toBeLessThanOrEqual(MOST_FAULTS);
  }
});

test('the rest of many faults is counted', async () => {
  const { text } = await send('/v1/jobs', { prompt: 'a fox', ...unknown(90) });
  expect(text).toContain('and 70 more faults');
});

test('a query of 500 unknown fields gets a small answer', async () => {
  const query = Array.from({ length: 500 }, (_, i) => `field_${i}=1`).join('&');
  const response = await call(`/v1/jobs?${query}`);
  const text = await response.text();
  expect(response.status).toBe(400);
  expect(text.length).toBeLessThan(MOST_BYTES);
  expect((JSON.parse(text) as { errors: unknown[] }).errors).toHaveLength(MOST_FAULTS);
});

test('a content type of 4,000 characters is not repeated', async () => {
  const response = await call('/v1/jobs', {
    method: 'POST',
    headers: { 'content-type': 'x'.repeat(4000) },
    body: '{}',
  });
  expect(response.status).toBe(415);
  expect((await response.text()).length).toBeLessThan(1000);
});

interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly maxItems?: number;
  readonly maxLength?: number;
  readonly additionalProperties?: unknown;
  readonly maxProperties?: number;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
}

test('every list and every text that a body may have is bounded, and no object is open that has no bound', async () => {
  const document = await (await call('/openapi.json', { key: null })).json<{
    paths: Record<string, Record<string, { requestBody?: { content: Record<string, { schema: Schema }> } }>>;
    components: { schemas: Record<string, Schema> };
  }>();
  const unbounded: string[] = [];
  let numLists = 0;
  const look = (schema: Schema, at: string): void => {
    if (schema.$ref) look(document.components.schemas[schema.$ref.split('/').at(-1) as string] as Schema, at);
    if (schema.type === 'array') numLists++;
    if (schema.type === 'array' && schema.maxItems === undefined) unbounded.push(`${at}: list`);
    if (schema.type === 'string' && !schema.enum && schema.const === undefined && schema.maxLength === undefined)
      unbounded.push(`${at}: text`);
    if (schema.type === 'object' && schema.additionalProperties !== false && schema.maxProperties === undefined)
      unbounded.push(`${at}: object`);
    if (schema.items) look(schema.items, `${at}[]`);
    for (const each of schema.anyOf ?? []) look(each, at);
    for (const [name, each] of Object.entries(schema.properties ?? {})) look(each, `${at}.${name}`);
  };
  for (const [path, methods] of Object.entries(document.paths))
    for (const { requestBody } of Object.values(methods))
      if (requestBody) look(Object.values(requestBody.content)[0]?.schema as Schema, path);
  expect(unbounded).toEqual([]);
  expect(numLists).toBeGreaterThan(10);
});

test('lists show jobs in short, with long prompts cut; a job by itself has all of it', async () => {
  const key = await openAccount();
  const prompt = `a red apple ${'x'.repeat(30_000)}`;
  const { id } = await createJob({ prompt, ...SMALL }, key);
  const listed = await (await call('/v1/jobs', { key })).text();
  const [job] = (JSON.parse(listed) as { data: Record<string, unknown>[] }).data;
  expect(job).toMatchObject({
    id,
    object: 'job',
    prompt: `${prompt.slice(0, 200)}…`,
    links: { image: expect.any(String) },
  });
  expect(job).not.toHaveProperty('plan');
  expect(job).not.toHaveProperty('receipt');
  expect(listed.length).toBeLessThan(3000);
  const predictions = await (await call('/v1/predictions', { key })).text();
  expect(predictions.length).toBeLessThan(3000);
  expect(JSON.parse(predictions)).toMatchObject({ results: [{ id, receipt: null, logs: '' }] });
  expect(await (await call(`/v1/jobs/${id}`, { key })).json()).toMatchObject({ id, prompt, plan: expect.any(Object) });
  await call(`/v1/jobs/${id}`, { key, method: 'DELETE' });
});
