/** A Hono app on a port. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type HttpBindings, serve } from '@hono/node-server';

/** A Hono app that is given Node's request and answer too. */
export interface NodeApp {
  readonly fetch: (request: Request, env: HttpBindings) => Response | Promise<Response>;
}

export interface Listening {
  readonly url: string;
  /** Takes no new connection, gives open answers `flushMs` to reach their readers, then closes what is left. */
  close(flushMs: number): Promise<void>;
}

/** Listens on `host:port`; port 0 takes a free one. Rejects when the port is taken. */
export function listen(
  app: NodeApp,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<Listening> {
  return new Promise((resolve, reject) => {
    // no createServer option is given, so what comes in and goes out is node:http's
    const fetch = app.fetch as Parameters<typeof serve>[0]['fetch'];
    const server = serve(
      { fetch, hostname: host, port, overrideGlobalObjects: false },
      ({ address, family, port: taken }: AddressInfo) => {
        resolve({
          url: `http://${family === 'IPv6' ? `[${address}]` : address}:${taken}`,
          close: (flushMs) => close(server, flushMs),
        });
      },
    ) as Server;
    server.once('error', reject);
  });
}

function close(server: Server, flushMs: number): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), flushMs);
    server.close(() => {
      clearTimeout(cut);
      resolve();
    });
    server.closeIdleConnections();
  });
}
