/** How a deployment is asked: one answer, or all pages of a list. */
import { request, type Service } from '../generate/client.ts';

/** What came of an order. */
export interface Done {
  /** as the deployment answered; of a list all its pages */
  readonly answer: unknown;
  readonly sentences: readonly string[];
  /** 0 where absent */
  readonly exitCode?: number;
}

export interface Page<T> {
  readonly data: readonly T[];
  readonly has_more: boolean;
  readonly next_cursor: string | null;
}

/** Longest wait for one answer. */
const ANSWER_MS = 60_000;

const send = (service: Service, method: string, path: string, body?: object): Promise<Response> =>
  request(service, path, {
    method,
    signal: AbortSignal.timeout(ANSWER_MS),
    ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });

/** Throws Refused where the deployment says no, Unreachable where it does not answer. */
export async function ask<T>(service: Service, method: string, path: string, body?: object): Promise<T> {
  const response = await send(service, method, path, body);
  return (response.status === 204 ? null : await response.json()) as T;
}

/** Every page of a list, in order. `query` comes before the place. */
export async function* pagesOf<P extends Omit<Page<unknown>, 'data'>>(
  service: Service,
  path: string,
  { method = 'GET', query = {} }: { readonly method?: string; readonly query?: Readonly<Record<string, string>> } = {},
): AsyncGenerator<P> {
  for (let cursor: string | null = null; ; ) {
    const search = new URLSearchParams({ ...query, ...(cursor !== null && { after: cursor }) });
    const page: P = await ask(service, method, search.size === 0 ? path : `${path}?${search}`);
    yield page;
    if (!page.has_more) return;
    cursor = page.next_cursor;
  }
}

/** All entries of a list. */
export async function askAll<T>(
  service: Service,
  path: string,
  query: Readonly<Record<string, string>> = { limit: '100' },
): Promise<readonly T[]> {
  const all: T[] = [];
  for await (const { data } of pagesOf<Page<T>>(service, path, { query })) all.push(...data);
  return all;
}

/** All pages of a table, its columns named once. */
export async function askTable(
  service: Service,
  path: string,
  query: Readonly<Record<string, string>>,
): Promise<string> {
  let table = '';
  let next: string | null = `${path}?${new URLSearchParams({ ...query, format: 'csv', limit: '1000' })}`;
  while (next !== null) {
    const response: Response = await send(service, 'GET', next);
    const page = await response.text();
    table += table === '' ? page : page.slice(page.indexOf('\r\n') + 2);
    const [, address] = /^<([^>]*)>; rel="next"$/.exec(response.headers.get('link') ?? '') ?? [];
    // wherever the deployment thinks that it is, it was reached here
    next = address === undefined ? null : path + new URL(address).search;
  }
  return table;
}

/** `2026-11-27 12:30`, of Unix seconds. */
export const minute = (seconds: number): string =>
  new Date(seconds * 1000).toISOString().slice(0, 16).replace('T', ' ');
