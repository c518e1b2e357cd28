/**
 * What the tests of other services' clients share: the stack, a listener for webhooks, and a look at a job from the
 * front door.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inject } from 'vitest';
import { getJob, type Service } from '../../scripts/generate/client.ts';
import { openAccount } from '../../scripts/local/secrets.ts';

/** The running stack, with the key of an account that nobody else uses. */
export interface Door {
  readonly service: Service;
  readonly adminKey: string;
}

/** The stack that the clients' tests share, and a new account in it. */
export async function openDoor(): Promise<Door> {
  const { url, adminKey } = inject('clientsStack');
  return { service: { url, key: await openAccount(url, adminKey, 'test') }, adminKey };
}

/** The same stack, and a new account in it that pays ahead and has nothing: what it asks for is a 402. */
export async function openPoorDoor(): Promise<Door> {
  const { url, adminKey } = inject('clientsStack');
  const response = await fetch(`${url}/v1/accounts`, {
    method: 'POST',
    headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'poor', billing: { mode: 'prepaid' } }),
  });
  const { key } = (await response.json()) as { key: { key: string } };
  return { service: { url, key: key.key }, adminKey };
}

/** Counts the requests that a client makes, and hands them on. */
export function countedFetch(): { readonly fetch: typeof fetch; readonly count: () => number } {
  let count = 0;
  return {
    fetch: (...request) => {
      count++;
      return fetch(...request);
    },
    count: () => count,
  };
}

export interface Received {
  readonly headers: Record<string, string>;
  readonly body: string;
}

export interface Listener {
  readonly url: string;
  /** resolves to the next delivery */
  next(): Promise<Received>;
  close(): void;
}

/**
 * A server that takes webhooks and answers `statuses` in turn, the last one from then on; `never`: it takes one and
 * does not answer.
 */
export async function listen(statuses: readonly (number | 'never')[] = [204]): Promise<Listener> {
  const received: Received[] = [];
  const waiting: ((delivery: Received) => void)[] = [];
  let calls = 0;
  const server = createServer(async (req, res) => {
    let body = '';
    for await (const chunk of req) body += chunk;
    const delivery = { headers: req.headers as Record<string, string>, body };
    const status = statuses[Math.min(calls++, statuses.length - 1)] ?? 204;
    if (status !== 'never') res.writeHead(status).end();
    const next = waiting.shift();
    if (next) next(delivery);
    else received.push(delivery);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    next: () => {
      const delivery = received.shift();
      return delivery ? Promise.resolve(delivery) : new Promise((resolve) => waiting.push(resolve));
    },
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Resolves once the job says `status`. */
export async function until(service: Service, id: string, status: string): Promise<void> {
  for (let polls = 0; polls < 1000; polls++) {
    if ((await getJob(service, id)).status === status) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`job ${id} never was ${status}`);
}
