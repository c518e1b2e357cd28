/**
 * A load balancer as hosts of GPUs have them, before several stage servers: it wants a key of its own, sends requests
 * to its workers in turn, names the worker in each answer, and heeds a name that comes back: alone, or while that
 * worker lives. Only the network's far side is faked; the workers are real.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Gateway {
  readonly url: string;
  /** what passed: method, path and the worker that answered; null where the gateway did */
  readonly passed: { readonly method: string; readonly path: string; readonly worker: string | null }[];
  /** cuts every open answer */
  cut(): void;
  close(): Promise<void>;
}

export const WORKER_HEADER = 'X-Runpod-Worker-Id';

/** A gateway with the key `key` before stage servers at `workers`, by name. */
export async function startGateway(key: string, workers: Readonly<Record<string, string>>): Promise<Gateway> {
  const names = Object.keys(workers);
  const passed: Gateway['passed'][number][] = [];
  const open = new Set<ServerResponse>();
  let turn = 0;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url: path = '/' } = request;
    const refuse = (status: number, reason: string): void => {
      passed.push({ method, path, worker: null });
      response.writeHead(status).end(JSON.stringify({ reason }));
    };
    if (request.headers.authorization !== `Bearer ${key}`) return refuse(401, 'unauthorized');
    const [, strict, pin] = /^(strict )?(.+)$/.exec(String(request.headers[WORKER_HEADER.toLowerCase()] ?? '')) ?? [];
    if (strict && !names.includes(pin as string)) return refuse(404, 'affinity_worker_gone');
    const first = pin !== undefined && names.includes(pin) ? pin : (names[turn++ % names.length] as string);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    const ask = (worker: string): Promise<Response> =>
      fetch(new URL(path, workers[worker]), {
        method,
        headers: { 'x-stage-token': String(request.headers['x-stage-token'] ?? '') },
        signal: gone.signal,
        ...(method === 'PUT' && { body: new Uint8Array(Buffer.concat(chunks)) }),
      });
    let worker = first;
    const real = await ask(first).catch((error) => {
      worker = names.find((name) => name !== first) as string;
      return strict ? Promise.reject(error) : ask(worker);
    });
    passed.push({ method, path, worker });
    response.writeHead(real.status, { [WORKER_HEADER]: worker });
    response.flushHeaders();
    for await (const chunk of real.body ?? []) response.write(chunk);
    response.end();
  }

  const server = createServer((request, response) => {
    open.add(response);
    response.on('close', () => open.delete(response));
    answer(request, response).catch(() => request.socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    passed,
    cut: () => {
      for (const response of open) response.destroy();
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
