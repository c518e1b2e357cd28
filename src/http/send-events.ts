/** A response of server-sent events, written while it is read. */
import type { Context } from 'hono';
import type { AppEnv } from './env.ts';

export interface EventWriter {
  /** one event; line breaks in `data` become spaces. Rejects once nobody reads. */
  event(type: string | null, data: string, id?: string): Promise<void>;
  /** a comment, which every client skips: it keeps an idle stream open */
  comment(): Promise<void>;
}

/** Of every stream: nothing in between keeps it, packs it or holds it back. */
export const STREAM_HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store, no-transform',
  'content-encoding': 'identity',
  'x-accel-buffering': 'no',
};

/**
 * The stream that `write` fills; it ends when `write` does. `onLost` runs when that was because nobody reads any more,
 * or because of an error.
 */
export function sendEvents(
  c: Context<AppEnv>,
  write: (writer: EventWriter) => Promise<void>,
  headers: Readonly<Record<string, string>> = {},
  onLost: () => void = () => undefined,
): Response {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const encoder = new TextEncoder();
  const send = (text: string): Promise<void> => writer.write(encoder.encode(text));
  const written = write({
    event: (type, data, id) => {
      const head = `${id === undefined ? '' : `id: ${id}\n`}${type === null ? '' : `event: ${type}\n`}`;
      return send(`${head}data: ${data.replaceAll(/[\r\n]+/g, ' ')}\n\n`);
    },
    comment: () => send(': keep-alive\n\n'),
  }).then(
    () => writer.close(),
    async (error) => {
      onLost();
      await writer.abort(error);
    },
  );
  // outlives the reader, for what is to be done when it goes
  c.executionCtx.waitUntil(written.catch(() => undefined));
  return c.body(readable, 200, { ...headers, ...STREAM_HEADERS });
}
