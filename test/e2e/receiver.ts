/** Servers of others, as they are on bad days: over real HTTP, each first try of an id with the next of its faults. */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/**
 * What becomes of one try: taken and answered; refused with this status; sent elsewhere; never answered; cut off before
 * or after it was taken.
 */
export type Fault = 'none' | number | 'redirect' | 'hang' | 'cut' | 'taken and cut';

export interface Heard {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface Answer {
  readonly status: number;
  readonly body?: unknown;
}

export interface Receiver {
  readonly url: string;
  /** every request, in the order in which they came */
  readonly heard: readonly Heard[];
  close(): void;
}

/**
 * A receiver. `idOf` is what a request is about; null: it meets no fault. `faultOf` says what becomes of a try, the
 * first one of an id being 1; `take` is what the server does with what it takes.
 */
export async function startReceiver({
  idOf,
  faultOf,
  take,
}: {
  readonly idOf: (heard: Heard) => string | null;
  readonly faultOf: (id: string, tries: number) => Fault;
  readonly take: (heard: Heard) => Answer;
}): Promise<Receiver> {
  const heard: Heard[] = [];
  const tries = new Map<string, number>();
  const server = createServer(async (request, response) => {
    const { method = '', headers, url = '/' } = request;
    const one = { method, url: new URL(url, 'http://receiver'), headers, body: await text(request) };
    heard.push(one);
    const id = idOf(one);
    if (id !== null) tries.set(id, (tries.get(id) ?? 0) + 1);
    const fault = id === null ? 'none' : faultOf(id, tries.get(id) ?? 0);
    if (fault === 'hang') return;
    if (fault === 'cut') return void request.socket.destroy();
    if (fault === 'redirect') return void response.writeHead(307, { location: '/elsewhere' }).end();
    if (typeof fault === 'number') return void response.writeHead(fault).end('{}');
    const { status, body = {} } = take(one);
    if (fault === 'taken and cut') return void request.socket.destroy();
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    heard,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** The faults in turn, one for the first try of each id; every later try is taken. */
export function inTurn(faults: readonly Fault[]): (id: string, tries: number) => Fault {
  const left = [...faults];
  return (_, tries) => (tries === 1 ? (left.shift() ?? 'none') : 'none');
}
