/** A crowd at a deployment: many jobs at once, and what came of each. */
import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { JobView } from '../../src/job/job.ts';
import { storedIn } from './bucket.ts';
import { type Caller, isRefusal, type Refusal } from './caller.ts';
import type { Deployment } from './deployment.ts';
import type { Afterwards, GroundAfterwards } from './laws.ts';
import { type Counted, jobOfStage, numberOfStage, type StandIn } from './stand-in.ts';

/** What is kept of a job: an hour has thousands. */
export type Started = Pick<JobView, 'id'>;
export type EndedJob = Pick<JobView, 'id' | 'status' | 'error' | 'cost'>;

/** A job of a crowd. */
export interface Member {
  readonly name: string;
  readonly seed: number;
  readonly answer: Started | Refusal;
  /** null where it was refused */
  readonly ended: EndedJob | null;
  /** milliseconds since 1970: when its start was asked for, and when its end was heard of */
  readonly askedAt: number;
  readonly endedAt: number;
}

/** Pictures of so few seeds that each is drawn many times: equal ones must be equal. */
export const NUM_SEEDS = 16;

/**
 * One job through everything: started surely, waited for at most `patienceMs`, and cancelled after `cancelAfterMs`.
 * Never rejects: a start that got no answer is one that was refused, and a job whose end nobody heard of has no end.
 */
export async function joinCrowd(
  caller: Caller,
  { name, at, patienceMs, cancelAfterMs = null, onStart }: Joining,
): Promise<Member> {
  const seed = at % NUM_SEEDS;
  const askedAt = Date.now();
  const left = { name, seed, askedAt };
  const answer = await caller.startSurely(seed, name).catch(unanswered);
  if (isRefusal(answer)) return { ...left, answer, ended: null, endedAt: Date.now() };
  const { id } = answer;
  onStart?.(id);
  try {
    if (cancelAfterMs !== null) {
      await pause(cancelAfterMs);
      await caller.cancel(id);
    }
    const { status, error, cost } = await caller.ended(id, patienceMs);
    return { ...left, answer: { id }, ended: { id, status, error, cost }, endedAt: Date.now() };
  } catch {
    return { ...left, answer: { id }, ended: null, endedAt: Date.now() };
  }
}

export interface Joining {
  readonly name: string;
  /** which one of its crowd it is */
  readonly at: number;
  readonly patienceMs: number;
  readonly cancelAfterMs?: number | null;
  /** told of the job that it is under way */
  readonly onStart?: (id: string) => void;
}

const unanswered = (error: unknown): Refusal => ({ status: 0, code: String(error), retryAfter: null });

/** How long after its last job an account may take to hear of all ends, and a slot to come back. */
const SETTLE_MS = 60_000;
/** Pictures compared of each seed. */
const COMPARED = 4;
/** Jobs whose events are read. */
const READ = 100;

/** The crowd of one account. */
export interface Crowd {
  readonly caller: Caller;
  readonly members: readonly Member[];
}

/** What is known of crowds once they are over: of each account, and of all. The deployment is killed at the end. */
export async function afterwards(
  deployment: Deployment,
  crowds: readonly Crowd[],
): Promise<{ readonly accounts: readonly Afterwards[]; readonly ground: Omit<GroundAfterwards, 'memory'> }> {
  const seen = [];
  for (const { caller, members } of crowds) {
    const open = await atZero(() => openJobs(caller));
    const [digests, streams] = [await digestsOf(caller, members), await streamsOf(caller, members)];
    const differences = await differencesOf(deployment, caller.id);
    seen.push({
      open,
      digests,
      streams,
      differences,
      members,
      ...(await caller.spent()),
      listed: await caller.listed(),
    });
  }
  let slots = { slotsHeld: 0, waiting: 0 };
  await atZero(async () => {
    slots = await slotsOf(deployment);
    return slots.slotsHeld + slots.waiting;
  });
  await deployment.kill();
  const stored = storedIn(deployment.folder);
  const pictures = stored.flatMap(({ job }) => job ?? []);
  const strays = stored.flatMap(({ key, job }) => (job === null ? [key] : []));
  const accounts = seen.map(({ members, ...rest }) => ({
    ...rest,
    pictures,
    answers: new Map(members.map(({ name, answer }) => [name, answer])),
    ended: new Map(members.flatMap(({ ended }) => (ended ? [[ended.id, ended] as const] : []))),
  }));
  return {
    accounts,
    ground: { strays, pictures, jobs: seen.flatMap(({ listed }) => listed.map(({ id }) => id)), ...slots },
  };
}

/** A count once it is zero, or what it is after a while. */
async function atZero(count: () => Promise<number>): Promise<number> {
  const end = performance.now() + SETTLE_MS;
  for (;;) {
    const now = await count();
    if (now === 0 || performance.now() > end) return now;
    await pause(200);
  }
}

/** Digests of pictures, some of each seed. */
async function digestsOf(caller: Caller, members: readonly Member[]): Promise<Map<number, Set<string>>> {
  const digests = new Map<number, Set<string>>();
  const compared = new Map<number, number>();
  for (const { seed, ended } of members) {
    const count = compared.get(seed) ?? 0;
    if (ended?.status !== 'done' || count >= COMPARED) continue;
    compared.set(seed, count + 1);
    const known = digests.get(seed) ?? new Set<string>();
    const digest = createHash('sha256').update(await caller.image(ended.id));
    digests.set(seed, known.add(digest.digest('hex')));
  }
  return digests;
}

/** Events of some jobs, evenly taken. */
async function streamsOf(caller: Caller, members: readonly Member[]): Promise<Map<string, string>> {
  const each = Math.ceil(members.length / READ);
  const streams = new Map<string, string>();
  for (const [i, { ended }] of members.entries())
    if (ended && i % each === 0) streams.set(ended.id, await caller.events(ended.id));
  return streams;
}

/** What the admin asks a deployment. */
async function asAdmin<T>({ url, adminKey }: Deployment, path: string, method = 'GET'): Promise<T> {
  const response = await fetch(new URL(path, url), { method, headers: { authorization: `Bearer ${adminKey}` } });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

/** Where ledger, jobs and outbox of an account do not agree. */
async function differencesOf(deployment: Deployment, account: string): Promise<unknown[]> {
  const differences: unknown[] = [];
  for (let after: string | null = '0'; after !== null; ) {
    const page: { data: unknown[]; next_cursor: string | null } = await asAdmin(
      deployment,
      `/v1/accounts/${account}/reconcile?after=${after}`,
      'POST',
    );
    differences.push(...page.data);
    after = page.next_cursor;
  }
  return differences;
}

/** What the dispatchers count. */
async function slotsOf(deployment: Deployment): Promise<{ slotsHeld: number; waiting: number }> {
  const { pools } = await asAdmin<{
    readonly pools: readonly {
      readonly servers: readonly { readonly slots_held: number }[];
      readonly lines: readonly { readonly waiting_jobs: number }[];
    }[];
  }>(deployment, '/v1/fleet');
  const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);
  return {
    slotsHeld: sum(pools.flatMap(({ servers }) => servers.map(({ slots_held }) => slots_held))),
    waiting: sum(pools.flatMap(({ lines }) => lines.map(({ waiting_jobs }) => waiting_jobs))),
  };
}

async function openJobs(caller: Caller): Promise<number> {
  const response = await caller.call('/v1/account');
  return ((await response.json()) as { open_jobs: number }).open_jobs;
}

/** When each job's stages were first asked for and when they ended, over all servers. */
export function stagesOf(counts: readonly Counted[]): ReadonlyMap<string, { firstAt: number; firstEndedAt: number }> {
  const jobs = new Map<string, { firstAt: number; firstEndedAt: number }>();
  for (const { id, firstAt, endedAt } of counts.flatMap(({ stages }) => stages)) {
    if (numberOfStage(id) !== 1) continue;
    const known = jobs.get(jobOfStage(id));
    jobs.set(jobOfStage(id), {
      firstAt: Math.min(firstAt, known?.firstAt ?? firstAt),
      firstEndedAt: Math.min(endedAt, known?.firstEndedAt ?? endedAt),
    });
  }
  return jobs;
}

/** What the servers counted, all together. */
export async function countAll(servers: readonly StandIn[]): Promise<{
  readonly counts: readonly Counted[];
  readonly requests: number;
  readonly bytes: number;
  readonly stages: number;
  readonly orphans: number;
}> {
  const counts = await Promise.all(servers.map((server) => server.counted()));
  const of = (pick: (counted: Counted) => number): number => counts.reduce((sum, one) => sum + pick(one), 0);
  return {
    counts,
    requests: of(({ requests }) => requests),
    bytes: of(({ bytes }) => bytes),
    stages: of(({ stages }) => stages.filter(({ outcomes }) => outcomes.includes('done')).length),
    orphans: of(({ stages }) => stages.reduce((sum, { orphans }) => sum + orphans, 0)),
  };
}
