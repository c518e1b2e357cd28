import { createServer } from 'node:net';

/** Whether nobody listens on this port of the loopback address. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(false) : reject(error),
    );
    server.listen({ port, host: '127.0.0.1' }, () => server.close(() => resolve(true)));
  });
}

/** The first free port from `wanted` upwards, over at most a hundred. */
export async function nextFreePort(wanted: number): Promise<number> {
  for (let port = wanted; port < wanted + 100 && port < 65_536; port++) if (await isFree(port)) return port;
  throw new Error(`no free port from ${wanted} to ${wanted + 99}`);
}

/**
 * A free port that stays free until its owner listens, or listens again: below those that systems give to whoever asks
 * for any.
 */
export const keptPort = (): Promise<number> => nextFreePort(10_000 + Math.floor(20_000 * Math.random()));
