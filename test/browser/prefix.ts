/** A proxy that has a service below a path of its own, and takes that path away. */
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Prefix {
  /** with the path, without a slash at the end */
  readonly url: string;
  /** where the service is that the proxy leads to; not known before it has started */
  lead(target: string): void;
  close(): Promise<void>;
}

export async function startPrefix(path: string): Promise<Prefix> {
  let target = '';
  const server = createServer((req, res) => {
    const asked = req.url ?? '';
    if (!asked.startsWith(`${path}/`)) {
      res.writeHead(404).end('nothing of the service is here');
      return;
    }
    const { method, headers } = req;
    const far = request(new URL(asked.slice(path.length), target), { method, headers }, (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(res);
    });
    far.on('error', () => res.destroy());
    res.on('close', () => far.destroy());
    req.pipe(far);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`,
    lead: (url) => {
      target = url;
    },
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
