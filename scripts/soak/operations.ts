/** What can happen to an account, drawn by chance. Each operation says in one line what it does. */
import type { AccountLimits, NewKey } from '../../src/account/account.ts';
import type { Posting } from '../../src/billing/ledger.ts';
import type { Tariff } from '../../src/billing/tariff.ts';
import type { FitMemo } from '../../src/job/plan.ts';
import { draftRequest, type RequestInput } from '../../src/job/plan-request.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { chargesOf, Violation } from './laws.ts';
import type { Product, StartJobs } from './objects.ts';
import type { Host, Message } from './platform.ts';
import type { Random } from './random.ts';
import { SERVERS } from './stage.ts';
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

const KEY_HASH = 'hash';

export const keyOf = (id: string): NewKey => ({
  id,
  name: id,
  hash: KEY_HASH,
  scopes: ['generate'],
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

/** A Worker gets a request; nobody waits for its answer. */
function ask(
  { world, product, memo, tariff }: Scene,
  asked: {
    readonly input: RequestInput;
    readonly count: number;
    readonly keyId: string;
    readonly requestId: string;
    readonly isJudged: boolean;
  },
  options: Pick<Parameters<StartJobs>[1], 'idempotency' | 'deadlineSeconds' | 'user'>,
): void {
  const { input, count, keyId, requestId, isJudged } = asked;
  const tools = { allowEngineChange: false, tariff, draw: () => 7 };
  const worker: Actor = { isDead: false, undoneTurn: -1 };
  const context = {
    env: isJudged ? { ...world.env, MODERATION_URL: 'http://judge.test/' } : world.env,
    var: {
      caller: { account: ACCOUNT, keyId, jurisdiction: null, keyHashes: [KEY_HASH] },
      requestId,
      gate: { fleet: product.heard },
    },
    set: () => undefined,
    executionCtx: { waitUntil: (work: Promise<unknown>) => tell(work) },
    req: { raw: {} },
  };
  const draft = ([facts]: readonly ModelFacts[]) => draftRequest(input, facts as ModelFacts, tools, { count });
  acting.run(worker, () =>
    tell(
      product.startJobs(context, { isThere: ({ length }) => length > 0, draft, memo, ...options }).catch((error) => {
        // refusals and broken calls are none
        if (error instanceof TypeError)
          world.violation ??= new Violation('no request meets a fault of ours', `${error}`);
      }),
    ),
  );
}

/** What comes when nothing fails any more: as many jobs of several stages as take all slots and a line. */
export function requestAtRest(scene: Scene): void {
  const asked = { input: INPUTS[4] as RequestInput, count: 4, keyId: KEYS[0], requestId: 'req_at_rest' };
  ask(scene, { ...asked, isJudged: false }, { idempotency: null, deadlineSeconds: null, user: null });
}

function request(scene: Scene, random: Random): string {
  const { tariff } = scene;
  const again = scene.named.length > 0 && random.chance(0.3) ? random.pick(scene.named) : null;
  const input = again?.input ?? random.pick(INPUTS);
  const count = again?.count ?? random.between(1, 4);
  const user = again?.user ?? random.pick(USERS);
  const key = again?.key ?? (random.chance(0.3) ? `idem-${scene.requests}` : null);
  if (key !== null && !again) scene.named.push({ key, input, count, user });
  const keyId = random.pick(KEYS);
  const deadlineSeconds = random.chance(0.15) ? random.between(1, 4) : null;
  const isJudged = random.chance(0.08);
  const requestId = `req_${scene.requests++}`;
  const options = {
    idempotency: key === null ? null : { key, digest: JSON.stringify([input, count]), repetition: null },
    deadlineSeconds,
    user,
  };
  ask(scene, { input, count, keyId, requestId, isJudged }, options);
  return `${requestId}: ${count} × ${JSON.stringify(input)} by ${keyId}, ${tariff?.version ?? 'no tariff'}${user ? `, user ${user}` : ''}${key ? `, ${key}` : ''}${deadlineSeconds ? `, within ${deadlineSeconds} s` : ''}${isJudged ? ', judged' : ''}`;
}

function someJob({ world }: Scene, random: Random): string | null {
  const ids = [...world.quoted.keys()];
  // mostly one that may be under way
  const some = random.chance(0.8) ? ids.slice(-5) : ids;
  return some.length > 0 ? random.pick(some) : null;
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

/** An object: mostly account or job, and every fourth time a dispatcher. */
function someHost({ world }: Scene, random: Random): Host {
  const dispatchers = world.platform.hosts('DISPATCHERS');
  if (dispatchers.length > 0 && random.chance(0.25)) return random.pick(dispatchers);
  return random.pick([world.account, ...world.platform.hosts('JOBS')]);
}

function killOne(scene: Scene, random: Random): string {
  const host = someHost(scene, random);
  host.kill();
  return `kill ${host.name}`;
}

/** A stage server goes, or comes back. */
function turnServer({ world }: Scene, random: Random): string {
  const server = random.pick(SERVERS);
  const { down } = world.stage;
  if (!down.delete(server)) down.add(server);
  return `server ${server} is ${down.has(server) ? 'down' : 'up'}`;
}

function ringOne(scene: Scene, random: Random): string {
  const host = someHost(scene, random);
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
  tell(world.platform.repeat(message));
  // what it does it does at once; nothing else happens meanwhile
  await world.time.run(world.time.now() - 1);
  const said = `again ${message.method} ${JSON.stringify(message.args).slice(0, 80)}`;
  world.checks++;
  if (moneyOf(world) !== before) world.violation ??= new Violation('a message twice changes nothing', said);
  return said;
}

export type Operation = (scene: Scene, random: Random) => string | null | Promise<string | null>;

/** Every operation, as often as it comes. */
export const OPERATIONS: readonly (readonly [number, Operation])[] = [
  [37, request],
  [10, onJob('cancel')],
  [6, onJob('erase')],
  [12, post],
  [7, order],
  [8, changeTariff],
  [6, killOne],
  [5, turnServer],
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
