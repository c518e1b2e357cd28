/** One account, its jobs, a stage server and a bucket on a platform that fails by chance: what a history acts on. */
import { PREPAID, type Terms } from '../../src/account/account.ts';
import { installCrypto } from './far-crypto.ts';
import { type Faults, makeFaults } from './faults.ts';
import { checkColumns, isThere, mayRun, Violation } from './laws.ts';
import type { Product } from './objects.ts';
import { type Host, makePlatform, type Platform } from './platform.ts';
import { makeRandom, type Random } from './random.ts';
import { FACTS, makeStageServer, type StageServer } from './stage.ts';
import { acting, installTime, makeTime, type Time } from './time.ts';

export const ACCOUNT = 'acct_soak';
const SECRET = 'a-secret-of-the-soak-with-32-bytes-or-more';
export const FAULT_RATES = [0, 0.01, 0.03, 0.08] as const;
const STAGE_FAULT_RATES = [0, 0.05, 0.25] as const;

export interface World {
  readonly time: Time;
  readonly faults: Faults;
  readonly platform: Platform;
  readonly stage: StageServer;
  /** chance of the operations; that of the faults is another, so that a shorter history begins like the longer one */
  readonly random: Random;
  readonly env: Readonly<Record<string, unknown>>;
  readonly account: Host;
  /** what was quoted for each job that a start was sent for; null: it has no price */
  readonly quoted: Map<string, number | null>;
  /** jobs of which a stage request went out */
  readonly computed: Set<string>;
  terms: Terms;
  /** the first law that did not hold */
  violation: Violation | null;
  /** how often laws were looked at */
  checks: number;
  /** Nothing fails any more. */
  heal(): void;
  close(): void;
}

/** Alerts that a right ledger never gives. */
const WRONG_ALERTS = ['charged_above_hold', 'charge_came_late'];

export function makeWorld(seed: number, product: Product): World {
  const random = makeRandom(seed);
  const chance = makeRandom(seed ^ 0x5bd1e995);
  const faults = makeFaults(chance, random.pick(FAULT_RATES));
  let stageRate: number = random.pick(STAGE_FAULT_RATES);
  // most begin shortly before a day or a month does
  const midnight = Date.UTC(2026, random.pick([10, 11]), random.pick([28, 31]));
  const start = midnight - random.pick([600_000, 60_000, 5 * 3_600_000]);

  const time: Time = makeTime(start, () => platform.endTurn());
  const env: Record<string, unknown> = {
    SIGNING_SECRET: SECRET,
    BACKENDS: JSON.stringify([{ id: 'one', url: 'http://stage.test/', models: ['*'] }]),
    BACKEND_TOKEN_ONE: 'token',
    WEBHOOK_RESOLVER: '',
    JOB_TTL_HOURS: '24',
    STAGE_TIMEOUT_SECONDS: '120',
    STAGE_SILENCE_SECONDS: '20',
    STAGE_ATTEMPTS: '3',
    QUEUE_SECONDS: '300',
    MODERATION_URL: '',
  };
  const look = (work: () => void): void => {
    world.checks++;
    try {
      work();
    } catch (error) {
      world.violation ??= error instanceof Violation ? error : new Violation('a law can be read', String(error));
    }
  };
  const platform: Platform = makePlatform({
    time: () => time,
    faults,
    classes: product.classes,
    env,
    draw: () => chance.next(),
    onStored: (host) => {
      if (host.space === 'ACCOUNTS' && isThere(host.db)) look(() => checkColumns(host.db, world.terms.creditLimit));
    },
    onSent: (method, args) => {
      if (method !== 'start') return;
      const { jobIds, price } = args[1] as {
        readonly jobIds: readonly string[];
        readonly price: { quoted: number } | null;
      };
      for (const id of jobIds) quoted.set(id, price?.quoted ?? null);
    },
  });
  const quoted = new Map<string, number | null>();
  const computed = new Set<string>();
  const stage = makeStageServer({
    time,
    faults,
    random: chance,
    rate: () => stageRate,
    onRequest: (job) => {
      computed.add(job);
      look(() => {
        if (!mayRun(account.db, job)) throw new Violation('no stage request goes out without a hold', job);
      });
    },
  });
  env.ACCOUNTS = platform.space('ACCOUNTS');
  env.JOBS = platform.space('JOBS');
  env.DIRECTORY = platform.space('DIRECTORY');
  env.IMAGES = bucketOf(time, faults, platform);

  const account = platform.host('ACCOUNTS', ACCOUNT);
  const undo = [installTime(time), installCrypto(chance), installFetch(stage, time, chance), installCaches()];
  undo.push(
    installLog((line) => {
      const { event, what, job_id } = line;
      if (event === 'alert' && WRONG_ALERTS.includes(String(what)))
        world.violation ??= new Violation(String(what), String(job_id));
      if (event === 'room_threw') world.violation ??= new Violation('no room throws', JSON.stringify(line));
    }),
  );
  const world: World = {
    time,
    faults,
    platform,
    stage,
    random,
    env,
    account,
    quoted,
    computed,
    terms: random.chance(0.7)
      ? PREPAID
      : { mode: 'postpaid', creditLimit: random.chance(0.7) ? 20_000 : null, stripeCustomer: null },
    violation: null,
    checks: 0,
    heal() {
      faults.heal();
      stageRate = 0;
    },
    close() {
      for (const each of undo.toReversed()) each();
      platform.close();
    },
  };
  return world;
}

/** A bucket: it takes what it is given, keeps nothing, and fails like everything else. */
function bucketOf(time: Time, faults: Faults, platform: Platform): object {
  const ask = (): Promise<null> =>
    new Promise((resolve, reject) => {
      const from = acting.getStore();
      const fate = faults.fate();
      if (fate === 'kills_caller') platform.killSoon(from);
      time.after(faults.latency(fate), () =>
        fate === 'lost' || fate === 'answer_lost' ? reject(new Error('the bucket failed')) : resolve(null),
      );
    });
  return { put: ask, delete: ask };
}

function replace(name: string, value: unknown): () => void {
  const before = Object.getOwnPropertyDescriptor(globalThis, name);
  Object.defineProperty(globalThis, name, { configurable: true, writable: true, value });
  return () => {
    if (before) Object.defineProperty(globalThis, name, before);
    else Reflect.deleteProperty(globalThis, name);
  };
}

/** The network: the stage server, and a judge of prompts who does not always answer. */
function installFetch(stage: StageServer, time: Time, chance: Random): () => void {
  const judge = (): Promise<Response> =>
    new Promise((resolve) => {
      const allowed = chance.chance(0.5);
      const status = chance.chance(0.2) ? 500 : 200;
      time.after(5, () => resolve(new Response(JSON.stringify({ allowed }), { status })));
    });
  return replace('fetch', (input: string, init: RequestInit) =>
    String(input).startsWith('http://judge.test') ? judge() : stage.fetch(input, init),
  );
}

/** A cache that holds nothing. */
const installCaches = (): (() => void) =>
  replace('caches', { default: { match: async () => undefined, put: async () => undefined } });

/** The log, read instead of shown. */
function installLog(read: (line: Record<string, unknown>) => void): () => void {
  const before = console.log;
  console.log = (text: unknown) => {
    // what a killed incarnation says, nobody hears
    if (acting.getStore()?.isDead) return;
    if (typeof text === 'string' && text.startsWith('{"event"')) read(JSON.parse(text));
    else before(text);
  };
  return () => {
    console.log = before;
  };
}

export { FACTS };
