/** What an admin orders, done against a deployment: what it answers, and the same in sentences for a person. */
import type { Service } from '../generate/client.ts';
import { ask, askAll, type Done, minute } from './ask.ts';
import { exportLedger, restoreLedger } from './backup.ts';
import { describeFleet, type Fleet } from './fleet.ts';
import type { Limits } from './limits.ts';
import { type Balance, describeBalance, postMoney, reconcile, showStatement, showUsage } from './money.ts';
import type { Order } from './options.ts';

interface Account {
  readonly id: string;
  readonly name: string;
  readonly created_at: number;
  readonly suspended_at: number | null;
  readonly limits: Required<Limits>;
  readonly billing: Balance;
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
/** How long a content may take to be erased, and the time between two looks. */
const ERASURE_MS = 30 * 60_000;
const LOOK_MS = 1000;

const work = (tflops: number | null): string => (tflops === null ? 'as the model has it' : `${tflops} TFLOPs`);

function describeAccount({
  id,
  name,
  created_at,
  suspended_at,
  limits,
  billing,
  open_jobs,
  is_erasing,
}: Account): string[] {
  return [
    `${id}  ${name}`,
    `opened ${minute(created_at)}; ${suspended_at === null ? 'takes work' : `suspended since ${minute(suspended_at)}`}${is_erasing ? '; its content is being erased' : ''}`,
    `${limits.images_per_minute} images a minute for each key, ${limits.concurrent_jobs} jobs at once; ${open_jobs} open now`,
    `work: ${work(limits.tflops_per_minute)} a minute, ${work(limits.tflops_per_image)} and ${limits.steps_per_image} steps an image`,
    describeBalance(billing),
    ...describeSpending(limits),
  ];
}

function describeSpending(limits: Account['limits']): string[] {
  const { usd_per_day, usd_per_month, usd_per_user_day, usd_per_user_month } = limits;
  const spending = [
    ...(usd_per_day === null ? [] : [`${usd_per_day} USD a day`]),
    ...(usd_per_month === null ? [] : [`${usd_per_month} USD a month`]),
    ...(usd_per_user_day === null ? [] : [`${usd_per_user_day} USD a day for each user`]),
    ...(usd_per_user_month === null ? [] : [`${usd_per_user_month} USD a month for each user`]),
  ];
  return spending.length === 0 ? [] : [`may spend ${spending.join(', ')}`];
}

const describeListed = ({ id, name, created_at, suspended_at }: Listed): string =>
  `${id}  ${minute(created_at)}  ${suspended_at === null ? 'active   ' : 'suspended'}  ${name}`;

function describeKey({ id, name, scopes, created_at, expires_at, revoked_at, last_used_at }: Key): string {
  const isOut = expires_at !== null && expires_at * 1000 <= Date.now();
  const state =
    revoked_at !== null
      ? `revoked ${minute(revoked_at)}`
      : expires_at !== null
        ? `${isOut ? 'expired' : 'expires'} ${minute(expires_at)}`
        : 'opens';
  const used = last_used_at === null ? 'never used' : `used ${minute(last_used_at)}`;
  return `${id}  ${minute(created_at)}  ${scopes.join(',')}  ${state}; ${used}  ${name}`;
}

const describeMade = ({ id, name, scopes, expires_at, key }: MadeKey): string[] => [
  `${key}`,
  `is the key ${id} (${name}), for ${scopes.join(', ')}${expires_at === null ? '' : `, until ${minute(expires_at)}`}. It is shown this once.`,
];

const describeEntry = ({ seq, at, actor, act, subject, detail }: Entry): string =>
  `${seq}  ${minute(at / 1000)}  ${actor}  ${act}${subject === null ? '' : `  ${subject}`}  ${JSON.stringify(detail)}`;

/** Does it. Throws what `ask` throws, and an Error where an erasure has not ended in half an hour. */
export async function carryOut(service: Service, order: Order): Promise<Done> {
  const of = (account: string): string => `/v1/accounts/${account}`;
  switch (order.command) {
    case 'fleet': {
      const fleet = await ask<Fleet>(service, 'GET', '/v1/fleet');
      return { answer: fleet, sentences: describeFleet(fleet, Date.now()) };
    }
    case 'accounts': {
      const accounts = await askAll<Listed>(service, '/v1/accounts');
      return { answer: accounts, sentences: accounts.map(describeListed) };
    }
    case 'open': {
      const opened = await ask<{ account: Account; key: MadeKey }>(service, 'POST', '/v1/accounts', {
        name: order.name,
        limits: order.limits,
        ...(Object.keys(order.billing).length > 0 && { billing: order.billing }),
        ...(order.jurisdiction !== null && { jurisdiction: order.jurisdiction }),
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
          ...(Object.keys(order.billing).length > 0 && { billing: order.billing }),
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
      const { account, name, scopes, expiresDays, tflopsPerMinute, usdPerDay, usdPerMonth } = order;
      const made = await ask<MadeKey>(service, 'POST', `${of(account)}/keys`, {
        name,
        scopes,
        ...(tflopsPerMinute !== null && { tflops_per_minute: tflopsPerMinute }),
        usd_per_day: usdPerDay,
        usd_per_month: usdPerMonth,
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
    case 'top-up':
    case 'refund':
    case 'adjust':
      return postMoney(service, of(order.account), order);
    case 'statement':
      return showStatement(service, of(order.account), order);
    case 'usage':
      return showUsage(service, of(order.account), order);
    case 'reconcile':
      return reconcile(service, of(order.account));
    case 'export-ledger':
      return exportLedger(service, order);
    case 'restore-ledger':
      return restoreLedger(service, order);
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
