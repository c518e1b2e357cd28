/** The jobs API as a client sees it: start, follow through lost connections, fetch, cancel. */
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { isLastEvent, type JobEventType, type SeenEvent } from '../../src/job/events.ts';
import type { JobView } from '../../src/job/job.ts';

export interface Service {
  readonly url: string;
  readonly key: string;
}

/** An event with its place in the order and its time, as the stream tells them; progress may have no place. */
export type FollowedEvent = SeenEvent;

/** The service answered, and said no. */
export class Refused extends Error {
  override name = 'Refused';
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, detail: string) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** The service did not answer for as long as one may wait. */
export class Unreachable extends Error {
  override name = 'Unreachable';
}

/** The response of one request; throws Refused for any status that is not a success, Unreachable when there is none. */
export async function request(service: Service, path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set('authorization', `Bearer ${service.key}`);
  let response: Response;
  try {
    response = await fetch(service.url + path, { ...init, headers });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Unreachable(`${service.url} does not answer (${causeOf(error)})`);
  }
  if (response.ok) return response;
  // addresses that OpenAI's clients know speak as OpenAI does
  const body = (await response.json().catch(() => ({}))) as ProblemBody & {
    error?: ProblemBody & { message?: string };
  };
  const { code, detail, title } = body.error ? { ...body.error, detail: body.error.message } : body;
  throw new Refused(
    response.status,
    code ?? 'http_error',
    detail ?? title ?? `${service.url}${path} answered ${response.status}`,
  );
}

interface ProblemBody {
  readonly code?: string | null;
  readonly detail?: string;
  readonly title?: string;
}

const causeOf = (error: unknown): string => {
  const { cause, message } = error as Error & { cause?: { code?: string; message?: string } };
  return cause?.code ?? cause?.message ?? message;
};

/** The job, started. */
export async function createJob(service: Service, body: Readonly<Record<string, unknown>>): Promise<JobView> {
  const response = await request(service, '/v1/jobs', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return (await response.json()) as JobView;
}

export const getJob = async (service: Service, id: string): Promise<JobView> =>
  (await (await request(service, `/v1/jobs/${id}`)).json()) as JobView;

export const fetchImage = async (service: Service, id: string): Promise<Uint8Array> =>
  new Uint8Array(await (await request(service, `/v1/jobs/${id}/image`)).arrayBuffer());

/** Asks the service to stop the job; waits at most `patience` milliseconds for it to say so. */
export async function cancelJob(service: Service, id: string, patience: number): Promise<void> {
  await request(service, `/v1/jobs/${id}/cancel`, { method: 'POST', signal: AbortSignal.timeout(patience) });
}

/** How long a service may be away while a job is followed. */
const AWAY_MS = 60_000;
const RETRY_MS = { first: 100, most: 2000 } as const;

/**
 * The events of a job after `after`, each once and in order, until its last; a step that was told before it was stored
 * comes again with its number. Thumbnails come where they are asked for. A lost connection, a refused one and a 5xx are
 * met with a new request that goes on after the last event seen. Throws Unreachable after `awayMs` without any
 * answer, Refused where the service says the job does not exist.
 */
export async function* follow(
  service: Service,
  id: string,
  options: { after?: number; signal?: AbortSignal; awayMs?: number; thumbnails?: boolean } = {},
): AsyncGenerator<FollowedEvent> {
  const { after = 0, signal, awayMs = AWAY_MS, thumbnails = false } = options;
  const path = `/v1/jobs/${id}/events${thumbnails ? '' : '?thumbnails=false'}`;
  let seq = after;
  let lastAnswer = performance.now();
  let wait: number = RETRY_MS.first;
  for (;;) {
    try {
      const headers: Record<string, string> = seq > 0 ? { 'last-event-id': String(seq) } : {};
      const response = await request(service, path, signal ? { headers, signal } : { headers });
      if (response.status === 204) return;
      for await (const event of read(response)) {
        lastAnswer = performance.now();
        wait = RETRY_MS.first;
        if (event.seq !== null && event.seq <= seq) continue;
        seq = event.seq ?? seq;
        yield event;
        if (isLastEvent(event.type)) return;
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof Refused && error.status < 500) throw error;
      if (performance.now() - lastAnswer > awayMs)
        throw error instanceof Unreachable
          ? error
          : new Unreachable(`${service.url} has not answered for ${Math.round(awayMs / 1000)} s (${causeOf(error)})`);
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
    signal?.throwIfAborted();
    wait = Math.min(RETRY_MS.most, wait * 2);
  }
}

async function* read(response: Response): AsyncGenerator<FollowedEvent> {
  if (!response.body) return;
  const messages = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  for await (const { id, event, data } of messages) {
    const { at, ...rest } = JSON.parse(data) as { at: number };
    yield { type: event as JobEventType, seq: id ? Number(id) : null, at, data: rest } as unknown as FollowedEvent;
  }
}
