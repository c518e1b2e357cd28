/** What can happen to an account, drawn by chance. Each operation says in one line what it does. */
import type { AccountLimits, NewKey } from '../../src/account/account.ts';
import type { Posting } from '../../src/billing/ledger.ts';
import type { Tariff } from '../../src/billing/tariff.ts';
import type { FitMemo } from '../../src/job/plan.ts';
import { draftRequest, type RequestInput } from '../../src/job/plan-request.ts';
import { chargesOf, Violation } from './laws.ts';
import type { Product } from './objects.ts';
import type { Message } from './platform.ts';
import type { Random } from './random.ts';
import { FACTS } from './stage.ts';
import { type Actor, acting } from './time.ts';
import { ACCOUNT, type World } from './world.ts';

/** What the operations of one history share. */
export interface Scene {
  readonly world: World;
  readonly product: Product;
  readonly memo: FitMemo;
  tariff: Tariff | null;
  requests: number;
  postings: number;
  /** requests with an idempotency key, to be made again */
  readonly named: {
    readonly key: string;
    readonly input: RequestInput;
    readonly count: number;
    readonly user: string | null;
  }[];
}

type Methods = Record<string, (...args: unknown[]) => Promise<unknown>>;
/** What the history asks directly: nobody waits for its answer. */
const tell = (asked: Promise<unknown>): void => void asked.catch(() => undefined);
const accountOf = ({ world }: Scene): Methods => world.platform.space('ACCOUNTS').getByName(ACCOUNT) as Methods;
const jobOf = ({ world }: Scene, id: string): Methods => world.platform.space('JOBS').getByName(id) as Methods;

const rate = (nanoUsdPerTflop: number, minimumMicroUsd: number) => ({ nanoUsdPerTflop, minimumMicroUsd });
export const TARIFFS: readonly (Tariff | null)[] = [
  { version: 'plain', rate: rate(100_000, 0), models: {} },
  { version: 'dear', rate: rate(123_457, 777), models: {} },
  { version: 'least', rate: rate(1, 3_000), models: { small: rate(50_000, 1_500) } },
  { version: 'free', rate: rate(0, 0), models: {} },
  null,
];

/** Requests of one stage to four, with and without a cache, by speed, and of schedules that callers write. */
export const INPUTS: readonly RequestInput[] = [
  { prompt: 'a' },
  { prompt: 'a', preset: 'plain' },
  { prompt: 'a', N: [2], e: [1] },
  { prompt: 'a', N: [1, 2], e: [0.3, 1] },
  { prompt: 'a', N: [2, 1, 2], e: [0.3, 0.5, 1], r: [0.5] },
  { prompt: 'a', N: [1, 1, 1], e: [0.2, 0.5, 1], r: [0.25], selection: 'latent', preview: false },
  { prompt: 'a', speed: 1.5 },
  { prompt: 'a', N: [5], e: [1], cache: { kind: 'taylor_velocity', interval: 2, order: 1, warmup: 1 } },
];

const KEYS = ['key_a', 'key_b', 'key_c'] as const;
const USERS = [null, null, 'ann', 'bob'] as const;

export const keyOf = (id: string): NewKey => ({
  id,
  name: id,
  hash: 'hash',
  scopes: ['jobs:write'] as unknown as NewKey['scopes'],
  expiresAt: null,
  tflopsPerMinute: null,
  microUsdPerDay: id === 'key_c' ? 15_000 : null,
  microUsdPerMonth: null,
});

/** Opens the account, with its keys. */
export function begin(scene: Scene, limits: AccountLimits): void {
  const { world } = scene;
  const message = (method: string, ...args: readonly unknown[]): Message => ({
    space: 'ACCOUNTS',
    name: ACCOUNT,
    method,
    args,
    answer: null,
  });
  const terms = world.terms;
  tell(world.platform.repeat(message('open', { id: ACCOUNT, name: 'soak', limits, terms, key: keyOf(KEYS[0]) })));
  for (const id of KEYS.slice(1)) tell(world.platform.repeat(message('addKey', keyOf(id), 'admin')));
  const first: Posting = { id: 'first', kind: 'top_up', amount: 60_000, job: null, reason: null };
  tell(world.platform.repeat(message('post', first, 'admin')));
}

function request(scene: Scene, random: Random): string {
  const { world, product, memo, tariff } = scene;
  const again = scene.named.length > 0 && random.chance(0.3) ? random.pick(scene.named) : null;
  const input = again?.input ?? random.pick(INPUTS);
  const count = again?.count ?? random.between(1, 4);
  const user = again?.user ?? random.pick(USERS);
  const key = again?.key ?? (random.chance(0.3) ? `idem-${scene.requests}` : null);
  if (key !== null && !again) scene.named.push({ key, input, count, user });
  const keyId = random.pick(KEYS);
  const deadlineSeconds = random.chance(0.15) ? random.between(1, 5) : null;
  const isJudged = random.chance(0.08);
  const requestId = `req_${scene.requests++}`;
  const tools = { allowEngineChange: false, tariff, draw: () => 7 };
  const worker: Actor = { isDead: false, undoneTurn: -1 };
  const env = isJudged ? { ...world.env, MODERATION_URL: 'http://judge.test/' } : world.env;
  acting.run(worker, () =>
    tell(
      product.startJobs(
        env,
        { account: ACCOUNT, keyId, scopes: [] },
        {
          draft: async () => draftRequest(input, FACTS, tools, { count }),
          memo,
          requestId,
          idempotency: key === null ? null : { key, digest: JSON.stringify([input, count]), repetition: null },
          deadlineSeconds,
          user,
        },
      ),
    ),
  );
  return `${requestId}: ${count} × ${JSON.stringify(input)} by ${keyId}, ${tariff?.version ?? 'no tariff'}${user ? `, user ${user}` : ''}${key ? `, ${key}` : ''}${deadlineSeconds ? `, within ${deadlineSeconds} s` : ''}${isJudged ? ', judged' : ''}`;
}

function someJob({ world }: Scene, random: Random): string | null {
  const ids = [...world.quoted.keys()];
  return ids.length > 0 ? random.pick(ids) : null;
}

function onJob(method: 'cancel' | 'erase') {
  return (scene: Scene, random: Random): string | null => {
    const id = someJob(scene, random);
    if (id === null) return null;
    tell(jobOf(scene, id)[method]?.(ACCOUNT) as Promise<unknown>);
    return `${method} ${id}`;
  };
}

function post(scene: Scene, random: Random): string {
  const { world } = scene;
  const kind = random.pick(['top_up', 'refund', 'adjustment'] as const);
  const id = `post-${random.chance(0.2) && scene.postings > 0 ? random.below(scene.postings) : scene.postings++}`;
  const charges = kind === 'refund' ? chargesOf(world.account.db) : [];
  const charge = charges.length > 0 ? random.pick(charges) : null;
  const amount = kind === 'adjustment' ? random.between(-30_000, 10_000) : random.between(1, 30_000);
  const own = charge ? random.between(1, Math.max(1, Math.ceil((charge.captured ?? 5) * 1.2))) : amount;
  const posting: Posting = { id, kind, amount: own, job: charge?.job ?? null, reason: null };
  tell(accountOf(scene).post?.(posting, 'admin') as Promise<unknown>);
  return `${kind} ${id} ${own}${charge ? ` of ${charge.job}` : ''}`;
}

function order(scene: Scene, random: Random): string {
  const account = accountOf(scene);
  const what = random.pick(['finish', 'cancel', 'resume', 'resume', 'erase', 'limits', 'limits', 'credit'] as const);
  switch (what) {
    case 'resume':
      tell(account.resume?.('admin') as Promise<unknown>);
      break;
    case 'erase':
      tell(account.eraseContent?.('admin') as Promise<unknown>);
      break;
    case 'limits': {
      const limits = {
        microUsdPerDay: random.pick([null, 40_000]),
        microUsdPerMonth: random.pick([null, 80_000]),
        microUsdPerUserDay: random.pick([null, 10_000]),
        concurrentJobs: random.pick([5, 20]),
      };
      tell(account.change?.({ limits }, 'admin') as Promise<unknown>);
      return `limits ${JSON.stringify(limits)}`;
    }
    case 'credit': {
      // only ever more: what is owed already stays owed
      if (scene.world.terms.creditLimit !== null && scene.world.terms.mode === 'postpaid') {
        const terms = { ...scene.world.terms, creditLimit: scene.world.terms.creditLimit + 10_000 };
        scene.world.terms = terms;
        tell(account.change?.({ terms }, 'admin') as Promise<unknown>);
      }
      break;
    }
    default:
      tell(account.suspend?.(what, 'admin') as Promise<unknown>);
  }
  return `order ${what}`;
}

function changeTariff(scene: Scene, random: Random): string {
  scene.tariff = random.pick(TARIFFS);
  return `tariff ${scene.tariff?.version ?? 'none'}`;
}

function killOne({ world }: Scene, random: Random): string {
  const hosts = [world.account, ...world.platform.hosts('JOBS')];
  const host = random.pick(hosts);
  host.kill();
  return `kill ${host.name}`;
}

function ringOne({ world }: Scene, random: Random): string {
  const host = random.pick([world.account, ...world.platform.hosts('JOBS')]);
  host.ring();
  return `ring ${host.name}`;
}

/** Messages that an account may get twice. */
const REPEATED = ['start', 'ended', 'confirm', 'withdraw', 'erased', 'post'];

const moneyOf = ({ account }: World): string =>
  JSON.stringify(
    ['SELECT * FROM ledger', 'SELECT * FROM entry', 'SELECT * FROM charge', 'SELECT * FROM usage'].map((query) =>
      account.db.prepare(query).all(),
    ),
  );

/** Whether a message had its effect when it first came: what was refused, or had come before, may be new now. */
const tookEffect = ({ method, answer }: Message): boolean => {
  const { kind } = (answer ?? {}) as { readonly kind?: string };
  if (method === 'start') return kind === 'new';
  return method !== 'post' || kind === 'posted';
};

/** A message comes twice: the money is afterwards what it was. */
async function repeat(scene: Scene, random: Random): Promise<string | null> {
  const { world } = scene;
  const list = world.platform.messages.filter((one) => REPEATED.includes(one.method) && tookEffect(one));
  if (list.length === 0) return null;
  const message = random.pick(list);
  const before = moneyOf(world);
  let isAnswered = false;
  const answer = world.platform.repeat(message).catch(() => undefined);
  void answer.then(() => {
    isAnswered = true;
  });
  // what it does it does in the turn in which it comes
  await world.time.run(world.time.now());
  const said = `again ${message.method} ${JSON.stringify(message.args).slice(0, 80)}`;
  world.checks++;
  if (moneyOf(world) !== before && !isAnswered)
    world.violation ??= new Violation('a message twice changes nothing', said);
  return said;
}

export type Operation = (scene: Scene, random: Random) => string | null | Promise<string | null>;

/** Every operation, as often as it comes among a hundred. */
export const OPERATIONS: readonly (readonly [number, Operation])[] = [
  [40, request],
  [9, onJob('cancel')],
  [6, onJob('erase')],
  [12, post],
  [6, order],
  [8, changeTariff],
  [5, killOne],
  [4, ringOne],
  [10, repeat],
];

export function drawOperation(random: Random): Operation {
  let place = random.below(OPERATIONS.reduce((sum, [share]) => sum + share, 0));
  for (const [share, operation] of OPERATIONS) {
    place -= share;
    if (place < 0) return operation;
  }
  return request;
}
