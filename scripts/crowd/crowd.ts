/** A crowd at a deployment: many jobs at once, and what came of each. */
import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { JobView } from '../../src/job/job.ts';
import { jobsWithPictures } from './bucket.ts';
import { type Caller, isRefusal, type Refusal } from './caller.ts';
import type { Deployment } from './deployment.ts';
import type { Afterwards } from './laws.ts';
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

/** One job through everything: started surely, waited for at most `patienceMs`. */
export async function joinCrowd(caller: Caller, name: string, at: number, patienceMs: number): Promise<Member> {
  const seed = at % NUM_SEEDS;
  const askedAt = Date.now();
  const answer = await caller.startSurely(seed, name);
  if (isRefusal(answer)) return { name, seed, answer, ended: null, askedAt, endedAt: Date.now() };
  const { id, status, error, cost } = await caller.ended(answer.id, patienceMs);
  return { name, seed, answer: { id }, ended: { id, status, error, cost }, askedAt, endedAt: Date.now() };
}

/** How long after its last job an account may take to hear of all ends. */
const SETTLE_MS = 60_000;
/** Pictures compared of each seed. */
const COMPARED = 4;

/** What is known of the crowd of one account once it is over. The deployment is killed at the end. */
export async function afterwards(
  deployment: Deployment,
  crowds: readonly { readonly caller: Caller; readonly members: readonly Member[] }[],
): Promise<Afterwards[]> {
  const seen = [];
  for (const { caller, members } of crowds) {
    const end = performance.now() + SETTLE_MS;
    let open = await openJobs(caller);
    while (open > 0 && performance.now() < end) {
      await pause(200);
      open = await openJobs(caller);
    }
    const digests = new Map<number, Set<string>>();
    const compared = new Map<number, number>();
    for (const { seed, ended } of members) {
      const count = compared.get(seed) ?? 0;
      if (ended?.status !== 'done' || count >= COMPARED) continue;
      compared.set(seed, count + 1);
      const known = digests.get(seed) ?? new Set<string>();
      digests.set(
        seed,
        known.add(
          createHash('sha256')
            .update(await caller.image(ended.id))
            .digest('hex'),
        ),
      );
    }
    seen.push({ open, digests, members, ...(await caller.spent()), listed: await caller.listed() });
  }
  await deployment.kill();
  const pictures = jobsWithPictures(deployment.folder);
  return seen.map(({ members, ...rest }) => ({
    ...rest,
    pictures,
    answers: new Map(members.map(({ name, answer }) => [name, answer])),
    ended: new Map(members.flatMap(({ ended }) => (ended ? [[ended.id, ended] as const] : []))),
  }));
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
