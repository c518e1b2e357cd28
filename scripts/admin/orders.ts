/** What an admin orders, done against a deployment: what it answers, and the same in sentences for a person. */
import { request, type Service } from '../generate/client.ts';
import type { Limits, Order } from './options.ts';

/** What came of an order. */
export interface Done {
  /** as the deployment answered; of a list all its pages */
  readonly answer: unknown;
  readonly sentences: readonly string[];
}

interface Account {
  readonly id: string;
  readonly name: string;
  readonly created_at: number;
  readonly suspended_at: number | null;
  readonly limits: Required<Limits>;
  readonly open_jobs: number;
  readonly is_erasing: boolean;
}
type Listed = Pick<Account, 'id' | 'name' | 'created_at' | 'suspended_at'>;
interface Key {
  readonly id: string;
  readonly name: string;
  readonly prefix: string;
  readonly scopes: readonly string[];
  readonly created_at: number;
  readonly expires_at: number | null;
  readonly revoked_at: number | null;
  readonly last_used_at: number | null;
}
type MadeKey = Pick<Key, 'id' | 'name' | 'scopes' | 'expires_at'> & { readonly key: string };
interface Entry {
  readonly seq: number;
  readonly at: number;
  readonly actor: string;
  readonly act: string;
  readonly subject: string | null;
  readonly detail: Readonly<Record<string, unknown>>;
}
interface Page<T> {
  readonly data: readonly T[];
  readonly has_more: boolean;
  readonly next_cursor: string | null;
}

/** Longest wait for one answer, and for a content to be erased. */
const ANSWER_MS = 60_000;
const ERASURE_MS = 30 * 60_000;
const LOOK_MS = 1000;

/** Throws Refused where the deployment says no, Unreachable where it does not answer. */
async function ask<T>(service: Service, method: string, path: string, body?: object): Promise<T> {
  const response = await request(service, path, {
    method,
    signal: AbortSignal.timeout(ANSWER_MS),
    ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
  return (response.status === 204 ? null : await response.json()) as T;
}

/** All pages of a list. */
async function askAll<T>(service: Service, path: string): Promise<readonly T[]> {
  const all: T[] = [];
  for (let cursor: string | null = null; ; ) {
    const page: Page<T> = await ask(service, 'GET', `${path}?limit=100${cursor === null ? '' : `&after=${cursor}`}`);
    all.push(...page.data);
    if (!page.has_more) return all;
    cursor = page.next_cursor;
  }
}

const day = (seconds: number): string => new Date(seconds * 1000).toISOString().slice(0, 16).replace('T', ' ');

const work = (tflops: number | null): string => (tflops === null ? 'as the model has it' : `${tflops} TFLOPs`);

function describeAccount({ id, name, created_at, suspended_at, limits, open_jobs, is_erasing }: Account): string[] {
  return [
    `${id}  ${name}`,
    `opened ${day(created_at)}; ${suspended_at === null ? 'takes work' : `suspended since ${day(suspended_at)}`}${is_erasing ? '; its content is being erased' : ''}`,
    `${limits.images_per_minute} images a minute for each key, ${limits.concurrent_jobs} jobs at once; ${open_jobs} open now`,
    `work: ${work(limits.tflops_per_minute)} a minute, ${work(limits.tflops_per_image)} and ${limits.steps_per_image} steps an image`,
  ];
}

const describeListed = ({ id, name, created_at, suspended_at }: Listed): string =>
  `${id}  ${day(created_at)}  ${suspended_at === null ? 'active   ' : 'suspended'}  ${name}`;

function describeKey({ id, name, scopes, created_at, expires_at, revoked_at, last_used_at }: Key): string {
  const isOut = expires_at !== null && expires_at * 1000 <= Date.now();
  const state =
    revoked_at !== null
      ? `revoked ${day(revoked_at)}`
      : expires_at !== null
        ? `${isOut ? 'expired' : 'expires'} ${day(expires_at)}`
        : 'opens';
  const used = last_used_at === null ? 'never used' : `used ${day(last_used_at)}`;
  return `${id}  ${day(created_at)}  ${scopes.join(',')}  ${state}; ${used}  ${name}`;
}

const describeMade = ({ id, name, scopes, expires_at, key }: MadeKey): string[] => [
  `${key}`,
  `is the key ${id} (${name}), for ${scopes.join(', ')}${expires_at === null ? '' : `, until ${day(expires_at)}`}. It is shown this once.`,
];

const describeEntry = ({ seq, at, actor, act, subject, detail }: Entry): string =>
  `${seq}  ${day(at / 1000)}  ${actor}  ${act}${subject === null ? '' : `  ${subject}`}  ${JSON.stringify(detail)}`;

/** Does it. Throws what `ask` throws, and an Error where an erasure has not ended in half an hour. */
export async function carryOut(service: Service, order: Order): Promise<Done> {
  const of = (account: string): string => `/v1/accounts/${account}`;
  switch (order.command) {
    case 'accounts': {
      const accounts = await askAll<Listed>(service, '/v1/accounts');
      return { answer: accounts, sentences: accounts.map(describeListed) };
    }
    case 'open': {
      const opened = await ask<{ account: Account; key: MadeKey }>(service, 'POST', '/v1/accounts', {
        name: order.name,
        limits: order.limits,
      });
      return { answer: opened, sentences: [...describeAccount(opened.account), ...describeMade(opened.key)] };
    }
    case 'show':
      return shown(await ask(service, 'GET', of(order.account)));
    case 'change':
      return shown(
        await ask(service, 'PATCH', of(order.account), {
          ...(order.name !== null && { name: order.name }),
          limits: order.limits,
        }),
      );
    case 'suspend':
      return shown(await ask(service, 'POST', `${of(order.account)}/suspend`, { running: order.running }));
    case 'resume':
      return shown(await ask(service, 'POST', `${of(order.account)}/resume`));
    case 'erase':
      await ask(service, 'DELETE', `${of(order.account)}/content`);
      return shown(await erased(service, of(order.account)));
    case 'audit': {
      const entries = await askAll<Entry>(service, `${of(order.account)}/audit`);
      return { answer: entries, sentences: entries.map(describeEntry) };
    }
    case 'keys': {
      const { data } = await ask<{ data: readonly Key[] }>(service, 'GET', `${of(order.account)}/keys`);
      return { answer: data, sentences: data.map(describeKey) };
    }
    case 'make-key': {
      const { account, name, scopes, expiresDays, tflopsPerMinute } = order;
      const made = await ask<MadeKey>(service, 'POST', `${of(account)}/keys`, {
        name,
        scopes,
        ...(tflopsPerMinute !== null && { tflops_per_minute: tflopsPerMinute }),
        ...(expiresDays !== null && { expires_at: Math.floor(Date.now() / 1000 + expiresDays * 86_400) }),
      });
      return { answer: made, sentences: describeMade(made) };
    }
    case 'rotate-key': {
      const { account, key, overlapHours } = order;
      const path = `${of(account)}/keys/${key}/rotate`;
      const made = await ask<MadeKey>(service, 'POST', path, { overlap_hours: overlapHours });
      return { answer: made, sentences: [...describeMade(made), `${key} opens for ${overlapHours} h more.`] };
    }
    case 'revoke-key':
      await ask(service, 'DELETE', `${of(order.account)}/keys/${order.key}`);
      return { answer: null, sentences: [`${order.key} opens nothing any more, at the latest in 30 s.`] };
  }
}

const shown = (account: Account): Done => ({ answer: account, sentences: describeAccount(account) });

/** The account once nothing of its content is being erased any more. */
async function erased(service: Service, path: string): Promise<Account> {
  for (const until = Date.now() + ERASURE_MS; ; ) {
    const account = await ask<Account>(service, 'GET', path);
    if (!account.is_erasing) return account;
    if (Date.now() > until)
      throw new Error('the content is not erased yet; the deployment goes on with it, and "show" says when it is');
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
