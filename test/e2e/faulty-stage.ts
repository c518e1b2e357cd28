/**
 * A stage server's far side with faults: forwards to the real one, except where a fault is due. The only thing faked is
 * what a network and a broken server do.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { decodeMessage, encodeMessage, type Message } from '../../src/stage/safetensors.ts';

/** What happens to one stage request instead of being forwarded whole. */
export type Fault =
  | { readonly kind: 'forward' }
  | { readonly kind: 'refuse' }
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly headers?: Record<string, string>;
      readonly body?: string;
    }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  /** forwards all but the last `missing` bytes, then ends the body or breaks the connection */
  | { readonly kind: 'cut'; readonly missing: number; readonly how: 'end' | 'break' }
  | { readonly kind: 'hang'; readonly after: 'nothing' | 'headers' }
  /** forwards everything, but only when `until` is settled */
  | { readonly kind: 'hold'; readonly until: Promise<unknown> }
  /** rewrites the last message, `done` */
  | { readonly kind: 'spoil'; readonly spoil: (done: Message) => Message };

export interface FaultyStage {
  readonly url: string;
  /** stage requests seen, in order */
  readonly seen: readonly string[];
  readonly deleted: readonly string[];
  /** the next stage requests meet these, then everything is forwarded again; `always` never ends */
  inject(faults: readonly Fault[], always?: Fault): void;
  close(): Promise<void>;
}

async function bodyOf(request: IncomingMessage): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return new Uint8Array(Buffer.concat(chunks));
}

export async function startFaultyStage(realUrl: string): Promise<FaultyStage> {
  let queue: Fault[] = [];
  let always: Fault = { kind: 'forward' };
  const seen: string[] = [];
  const deleted: string[] = [];

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await bodyOf(request);
    const isStage = request.method === 'PUT';
    if (isStage) seen.push(request.url ?? '');
    if (request.method === 'DELETE') deleted.push(request.url ?? '');
    const fault: Fault = isStage ? (queue.shift() ?? always) : { kind: 'forward' };
    switch (fault.kind) {
      case 'refuse':
        request.socket.destroy();
        return;
      case 'status':
        response.writeHead(fault.status, fault.headers).end(fault.body);
        return;
      case 'bytes':
        response.writeHead(200).end(fault.bytes);
        return;
      case 'hang':
        if (fault.after === 'headers') response.writeHead(200).flushHeaders();
        return;
    }
    const real = await fetch(new URL(request.url ?? '/', realUrl), {
      method: request.method ?? 'GET',
      headers: { authorization: request.headers.authorization ?? '' },
      ...(isStage && { body }),
    });
    if (fault.kind === 'forward') {
      response.writeHead(real.status, Object.fromEntries(real.headers));
      for await (const chunk of real.body ?? []) response.write(chunk);
      response.end();
      return;
    }
    const whole = new Uint8Array(await real.arrayBuffer());
    if (fault.kind === 'hold') {
      await fault.until;
      response.writeHead(real.status).end(whole);
    } else if (fault.kind === 'spoil') {
      response.writeHead(200).end(spoilLast(whole, fault.spoil));
    } else {
      response.writeHead(200);
      response.write(whole.subarray(0, whole.length - fault.missing), () =>
        fault.how === 'end' ? response.end() : request.socket.destroy(),
      );
    }
  }

  const server: Server = createServer((request, response) => {
    // the far side of a broken forward sees a broken connection
    answer(request, response).catch(() => request.socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    deleted,
    inject(faults, forEver = { kind: 'forward' }) {
      queue = [...faults];
      always = forEver;
      seen.length = 0;
      deleted.length = 0;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A body of messages with its last one rewritten. */
function spoilLast(bytes: Uint8Array, spoil: (done: Message) => Message): Uint8Array {
  let at = 0;
  let last = 0;
  while (at < bytes.length) {
    last = at;
    const view = new DataView(bytes.buffer, bytes.byteOffset + at);
    const length = Number(view.getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(at + 8, at + 8 + length))) as Record<
      string,
      { data_offsets?: [number, number] }
    >;
    at += 8 + length + Math.max(0, ...Object.values(header).map(({ data_offsets }) => data_offsets?.[1] ?? 0));
  }
  return Buffer.concat([bytes.subarray(0, last), encodeMessage(spoil(decodeMessage(bytes.slice(last))))]);
}
