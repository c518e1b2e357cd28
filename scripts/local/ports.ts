import { createServer } from 'node:net';

/**
 * A port of the loopback address that was free a moment ago: `wanted`, or any when it is 0; null where `wanted` is
 * taken.
 */
export function freePort(wanted = 0): Promise<number | null> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(null) : reject(error),
    );
    server.listen({ port: wanted, host: '127.0.0.1' }, () => {
      const address = server.address();
      server.close(() => resolve(address !== null && typeof address === 'object' ? address.port : null));
    });
  });
}

/** The first free port from `wanted` upwards, over at most a hundred. */
export async function nextFreePort(wanted: number): Promise<number> {
  for (let port = wanted; port < wanted + 100 && port < 65_536; port++)
    if ((await freePort(port)) !== null) return port;
  throw new Error(`no free port from ${wanted} to ${wanted + 99}`);
}
