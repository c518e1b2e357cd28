/** Calling the Worker under test as a client does. */
import { exports } from 'cloudflare:workers';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import type { JobEvent } from '../../src/job/events.ts';
import type { JobView } from '../../src/job/job.ts';

/** Of the deployment under test. */
export const ADMIN_KEY = 'test-admin-key-with-32-bytes-or-more';

/** An account of its own, opened with the admin key; resolves to its first key. */
export async function openAccount(limits: Readonly<Record<string, number>> = {}): Promise<string> {
  const body = JSON.stringify({
    name: 'test',
    limits: {
      images_per_minute: 10_000,
      concurrent_jobs: 1000,
      tflops_per_image: 1e9,
      steps_per_image: 1000,
      ...limits,
    },
    billing: { mode: 'postpaid', credit_limit_usd: null },
  });
  const response = await exports.default.fetch(
    new Request('http://ralu.test/v1/accounts', {
      method: 'POST',
      headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
      body,
    }),
  );
  if (response.status !== 201) throw new Error(`account refused: ${response.status} ${await response.text()}`);
  return (await response.json<{ key: { key: string } }>()).key.key;
}

/** The key that `call` sends: one account for each test file. */
export const KEY = await openAccount();

/** The smallest square of the embedded model: what a test asks for that wants a picture soon. */
export const SMALL = { width: 256, height: 256 } as const;

export function call(path: string, init: RequestInit & { readonly key?: string | null } = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  const key = init.key === undefined ? KEY : init.key;
  if (key !== null) headers.set('authorization', `Bearer ${key}`);
  return exports.default.fetch(new Request(`http://ralu.test${path}`, { ...init, headers }));
}

export function post(path: string, body: unknown, key: string = KEY): Promise<Response> {
  return call(path, {
    key,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

/** A job that was accepted. */
export async function createJob(body: Record<string, unknown>, key: string = KEY): Promise<JobView> {
  const response = await post('/v1/jobs', body, key);
  if (response.status !== 202) throw new Error(`job refused: ${response.status} ${await response.text()}`);
  return response.json();
}

/** An event as it came; `id` is null where it was told and not stored. */
export type SeenEvent = { readonly id: number | null } & JobEvent;

/** The number of the last event that was stored; 0 before the first. */
export const lastIdOf = (events: readonly SeenEvent[]): number => events.findLast(({ id }) => id !== null)?.id ?? 0;

/** Of the events that were stored: their numbers, which must be 1, 2, 3 … */
export const idsOf = (events: readonly SeenEvent[]): readonly number[] =>
  events.flatMap(({ id }) => (id === null ? [] : [id]));

/** The events of a job from `after` on, as they come. */
export async function* watch(id: string, after = 0): AsyncGenerator<SeenEvent> {
  const response = await call(`/v1/jobs/${id}/events`, { headers: after ? { 'last-event-id': String(after) } : {} });
  if (response.status === 204) return;
  if (!response.ok || !response.body) throw new Error(`no events: ${response.status}`);
  const seen: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (event) => seen.push(event) });
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    parser.feed(text);
    for (const { id, event, data } of seen.splice(0))
      yield { id: id ? Number(id) : null, type: event, data: JSON.parse(data) } as unknown as SeenEvent;
  }
}

/** Every event until the job ends. */
export async function watchAll(id: string): Promise<readonly SeenEvent[]> {
  const events: SeenEvent[] = [];
  for await (const event of watch(id)) events.push(event);
  return events;
}

/** Bytes of the finished image. */
export async function imageOf(id: string): Promise<Uint8Array> {
  const response = await call(`/v1/jobs/${id}/image`);
  if (!response.ok) throw new Error(`no image: ${response.status} ${await response.text()}`);
  return new Uint8Array(await response.arrayBuffer());
}
