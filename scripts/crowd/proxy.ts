/** A TCP proxy whose connections can be slowed, swallowed, cut and refused while they are used. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { keptPort } from '../local/ports.ts';

/** What happens to every connection, those that are open too. */
export type Way =
  /** bytes arrive `latencyMs` later, in both directions */
  | { readonly kind: 'pass'; readonly latencyMs?: number }
  /** connections are taken, and nothing ever comes of them */
  | { readonly kind: 'hole' }
  /** nobody listens; open connections break */
  | { readonly kind: 'refuse' }
  /** each connection breaks after so many bytes of answer */
  | { readonly kind: 'cut'; readonly afterBytes: number };

export interface TestProxy {
  readonly url: string;
  /** connections taken since the proxy was made */
  connections(): number;
  /** bytes that came from callers */
  bytesIn(): number;
  set(way: Way): Promise<void>;
  /** where new connections lead from now on; open ones break */
  leadTo(url: string): void;
  close(): Promise<void>;
}

/** A proxy in front of `url`, on a port that it keeps. */
export async function startProxy(url: string, first: Way = { kind: 'pass' }): Promise<TestProxy> {
  let way = first;
  let target = new URL(url);
  let taken = 0;
  let bytesIn = 0;
  const open = new Set<Socket>();
  const port = await keptPort();

  const server: Server = createServer({ noDelay: true }, (near) => {
    taken += 1;
    const far = connect({ port: Number(target.port), host: target.hostname, noDelay: true });
    let answered = 0;
    const both = [near, far];
    const end = (): void => {
      for (const socket of both) {
        socket.destroy();
        open.delete(socket);
      }
    };
    for (const socket of both) {
      open.add(socket);
      socket.on('error', end);
      socket.on('close', () => (way.kind === 'hole' ? undefined : end()));
    }
    carry(near, far, (bytes) => {
      bytesIn += bytes;
    });
    carry(far, near, (bytes) => {
      answered += bytes;
      if (way.kind === 'cut' && answered > way.afterBytes) end();
    });
  });

  /** Bytes of `from` reach `to`, by the way of the moment. */
  function carry(from: Socket, to: Socket, onBytes: (bytes: number) => void): void {
    const deliver = (work: () => void): void => {
      if (way.kind === 'hole') return;
      const latencyMs = way.kind === 'pass' ? (way.latencyMs ?? 0) : 0;
      if (latencyMs > 0) setTimeout(work, latencyMs);
      else work();
    };
    from.on('data', (chunk) => {
      onBytes(chunk.length);
      deliver(() => {
        if (!to.destroyed) to.write(chunk);
      });
    });
    from.on('end', () => deliver(() => to.end()));
  }

  const breakAll = (): void => {
    for (const socket of open) socket.destroy();
    open.clear();
  };
  async function listen(): Promise<void> {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  }
  async function stop(): Promise<void> {
    const closed = once(server, 'close');
    server.close();
    breakAll();
    await closed;
  }

  if (way.kind !== 'refuse') await listen();
  return {
    url: `http://127.0.0.1:${port}`,
    connections: () => taken,
    bytesIn: () => bytesIn,
    async set(next) {
      const { kind } = way;
      way = next;
      if (next.kind === 'refuse' && kind !== 'refuse') await stop();
      if (next.kind !== 'refuse' && kind === 'refuse') await listen();
      // what was swallowed does not come back
      if (kind === 'hole' && next.kind !== 'hole') breakAll();
    },
    leadTo(next) {
      target = new URL(next);
      breakAll();
    },
    async close() {
      if (server.listening) await stop();
      breakAll();
    },
  };
}
