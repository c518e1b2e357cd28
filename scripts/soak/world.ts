/**
 * One account, its jobs, their dispatcher, two stage servers, a bucket and a sink of events, on a platform that fails
 * by chance: what a history acts on.
 */
import { PREPAID, type Terms } from '../../src/account/account.ts';
import type { UsageEvent } from '../../src/billing/usage-event.ts';
import { installCrypto } from './far-crypto.ts';
import { type Faults, makeFaults } from './faults.ts';
import { checkColumns, checkEvent, isThere, mayRun, Violation } from './laws.ts';
import type { Product } from './objects.ts';
import { type Host, makePlatform, type Platform } from './platform.ts';
import { makeRandom, type Random } from './random.ts';
import { makeStageServer, SERVERS, SLOTS, type StageServer } from './stage.ts';
import { acting, installTime, makeTime, type Time } from './time.ts';

export const ACCOUNT = 'acct_soak';
const SECRET = 'a-secret-of-the-soak-with-32-bytes-or-more';
export const FAULT_RATES = [0, 0.02, 0.06, 0.15] as const;
const STAGE_FAULT_RATES = [0, 0.1, 0.35] as const;

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
  /** what the sink was told last of each ended job */
  readonly events: ReadonlyMap<string, string>;
  terms: Terms;
  /** the first law that did not hold */
  violation: Violation | null;
  /** jobs that were done, as the log says */
  done: number;
  /** how often laws were looked at */
  checks: number;
  /** Nothing fails any more. */
  heal(): void;
  /** Nothing takes long any more. */
  calm(): void;
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
    BACKENDS: JSON.stringify(SERVERS.map((id) => ({ id, url: `http://${id}.test/`, slots: SLOTS[id] }))),
    BACKEND_TOKEN_ONE: 'token',
    BACKEND_TOKEN_TWO: 'token',
    WEBHOOK_RESOLVER: '',
    PUBLIC_URL: '',
    EVENTS_URL: '',
    STRIPE_METER: '',
    JOB_TTL_HOURS: '24',
    STAGE_TIMEOUT_SECONDS: '120',
    STAGE_SILENCE_SECONDS: '20',
    STAGE_ATTEMPTS: '3',
    QUEUE_SECONDS: '300',
    MODERATION_URL: '',
    MODEL_ALIASES: '',
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
  const events = new Map<string, string>();
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
  env.DISPATCHERS = platform.space('DISPATCHERS');
  // an isolate that has heard nothing yet
  for (const known of Object.values(product.heard.of(String(env.BACKENDS)))) if (known instanceof Map) known.clear();
  const bucket = outside(time, faults, platform, () => undefined);
  env.IMAGES = { put: bucket, delete: bucket };
  const send = outside(time, faults, platform, ({ id, data }: UsageEvent) => {
    const told = JSON.stringify(data);
    look(() => checkEvent(id, events.get(id), told));
    events.set(id, told);
  });
  env.EVENTS = { send: (event: UsageEvent) => send(structuredClone(event)) };

  const account = platform.host('ACCOUNTS', ACCOUNT);
  const undo = [installTime(time), installCrypto(chance), installFetch(stage, time, chance), installCaches()];
  undo.push(
    installLog((line) => {
      const { event, what, job_id } = line;
      if (event === 'alert' && WRONG_ALERTS.includes(String(what)))
        world.violation ??= new Violation(String(what), String(job_id));
      if (event === 'job_ended' && line.room === 'done') world.done++;
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
    events,
    terms: random.chance(0.7)
      ? PREPAID
      : { mode: 'postpaid', creditLimit: random.chance(0.7) ? 20_000 : null, stripeCustomer: null },
    violation: null,
    done: 0,
    checks: 0,
    heal() {
      faults.heal();
      stage.down.clear();
      stageRate = 0;
    },
    calm() {
      faults.calm();
      stage.calm();
    },
    close() {
      for (const each of undo.toReversed()) each();
      platform.close();
    },
  };
  return world;
}

/** Somebody outside who takes what is given, and fails like everything else. */
const outside =
  <T>(time: Time, faults: Faults, platform: Platform, take: (given: T) => void) =>
  (given: T): Promise<null> =>
    new Promise((resolve, reject) => {
      const from = acting.getStore();
      const sentIn = time.turn();
      const fate = faults.fate();
      if (fate === 'kills_caller') platform.killSoon(from);
      time.after(faults.latency(fate), () => {
        // its sender was killed before it was sent
        if (from?.undoneTurn === sentIn) return;
        if (fate !== 'lost') take(given);
        if (fate === 'lost' || fate === 'answer_lost') reject(new Error('the far side failed'));
        else resolve(null);
      });
    });

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
