/** `npm run soak -- --crowd`: crowds at one server, beyond the limit, all at once, and an hour of blows. */
import { setTimeout as pause } from 'node:timers/promises';
import { bundleCounted } from '../bench/rows.ts';
import { bundleWorker, type WorkerBundle } from '../local/bundle.ts';
import { makeRandom, type Random } from '../soak/random.ts';
import { type Caller, isRefusal, openCaller } from './caller.ts';
import { type Place, strike } from './chaos.ts';
import { afterwards, type Crowd, countAll, joinCrowd, type Member, stagesOf } from './crowd.ts';
import { type Deployment, makeDeployment } from './deployment.ts';
import { quantile, rankCorrelation, seconds, table } from './figures.ts';
import { type Gauge, startGauge } from './gauge.ts';
import { brokenGround, brokenLaws, type Memory } from './laws.ts';
import { startProxy } from './proxy.ts';
import { brokenSights, type Several, type Visited, type Watched } from './seen-laws.ts';
import { askForSeveral } from './several.ts';
import { type StandInOptions, startStandIn } from './stand-in.ts';
import { NUM_STAGES } from './stand-in-model.ts';
import { visitShare } from './visitor.ts';
import { watchThrough } from './watcher.ts';

export interface CrowdOptions {
  /** of blows; 0: none */
  readonly minutes: number;
  /** jobs at once on a fast server */
  readonly jobs: number;
  readonly seed: number;
}

/** What a crowd came to; times in milliseconds. What was not measured is left out. */
interface Figures {
  readonly jobs: number;
  readonly done: number;
  readonly cancelled?: number;
  readonly p50_ms?: number;
  readonly p99_ms?: number;
  readonly requests_a_stage?: number;
  readonly bytes_a_stage?: number;
  readonly stages_a_job?: number;
  readonly cpu_ms_a_job?: number;
  readonly rows_a_job?: number | null;
  readonly memory?: Memory | null;
  readonly blows?: Readonly<Record<string, number>>;
}

/** The figures, and the laws that did not hold. */
interface Result {
  readonly name: string;
  readonly figures: Figures;
  readonly broken: readonly string[];
}

const HEADER = [
  'crowd',
  'done',
  'p50',
  'p99',
  'requests a stage',
  'bytes a stage',
  'stages a job',
  'CPU a job',
  'rows a job',
];

/** A crowd as a row of the table. */
function rowOf({ name, figures: of }: Result): string[] {
  const shown = (value: number | null | undefined, show: (value: number) => string): string =>
    value === null || value === undefined ? '' : show(value);
  const digits = (count: number) => (value: number) => value.toFixed(count);
  return [
    name,
    `${of.done} of ${of.jobs}${of.cancelled ? `, ${of.cancelled} cancelled` : ''}`,
    ...[of.p50_ms, of.p99_ms].map((ms) => shown(ms, seconds)),
    shown(of.requests_a_stage, digits(2)),
    shown(of.bytes_a_stage, digits(0)),
    shown(of.stages_a_job, digits(2)),
    shown(of.cpu_ms_a_job, (ms) => `${Math.round(ms)} ms`),
    shown(of.rows_a_job, digits(1)),
  ];
}
/** Longest wait for one job. */
const PATIENCE_MS = 600_000;

interface Ground {
  readonly deployment: Deployment;
  readonly places: readonly Place[];
  stop(): Promise<void>;
}

async function prepare(
  bundle: WorkerBundle,
  servers: readonly (StandInOptions & { readonly fields?: Readonly<Record<string, unknown>> })[],
  vars: Readonly<Record<string, string>> = {},
): Promise<Ground> {
  const places = await Promise.all(
    servers.map(async ({ fields = {}, ...options }, i): Promise<Place> => {
      const server = await startStandIn(options);
      const proxy = await startProxy(server.url);
      const entry = { id: `server-${i}`, url: proxy.url, token: server.token, fields };
      return { server, proxy, entry };
    }),
  );
  const deployment = await makeDeployment({ bundle, fleet: places.map(({ entry }) => entry), vars });
  await deployment.start();
  return {
    deployment,
    places,
    async stop() {
      await deployment.remove();
      await Promise.all(places.flatMap(({ server, proxy }) => [server.kill(), proxy.close()]));
    },
  };
}

/** So many jobs of these accounts at once, each account its share. */
const gather = (callers: readonly Caller[], count: number, name: string): Promise<Member[][]> =>
  Promise.all(
    callers.map((caller, k) =>
      Promise.all(
        Array.from({ length: Math.floor(count / callers.length) }, (_, i) =>
          joinCrowd(caller, { name: `${name}-${k}-${i}`, at: i, patienceMs: PATIENCE_MS }),
        ),
      ),
    ),
  );

/** Most jobs of which the log is shown, where a law names them. */
const MOST_SHOWN = 6;

/** What came of crowds, and what does not hold after them. */
async function judge(
  name: string,
  { deployment, places }: Ground,
  crowds: readonly Crowd[],
  gauge: Gauge,
): Promise<Result> {
  const members = crowds.flatMap((crowd) => crowd.members);
  const cpuMs = deployment.cpuMs();
  const { rows, memory } = await gauge.stop();
  const { requests, bytes, stages, orphans } = await countAll(places.map(({ server }) => server));
  const done = members.filter(({ ended }) => ended?.status === 'done');
  const times = done.map(({ askedAt, endedAt }) => endedAt - askedAt);
  const { accounts, ground } = await afterwards(deployment, crowds);
  // a crowd that comes and goes takes memory and gives it back when it is collected
  const broken = [...accounts.flatMap(brokenLaws), ...brokenGround({ ...ground, memory })];
  for (const id of new Set(
    broken
      .join(' ')
      .match(/\bjob_\w+/g)
      ?.slice(0, MOST_SHOWN) ?? [],
  ))
    say({ event: 'log_of_job', job: id, lines: deployment.log.filter((line) => line.includes(id)) });
  return {
    name,
    figures: {
      jobs: members.length,
      done: done.length,
      cancelled: members.filter(({ ended }) => ended?.status === 'cancelled').length,
      p50_ms: quantile(times, 0.5),
      p99_ms: quantile(times, 0.99),
      requests_a_stage: requests / stages,
      bytes_a_stage: bytes / stages,
      stages_a_job: stages / members.length,
      cpu_ms_a_job: cpuMs / members.length,
      rows_a_job: rows === null ? null : rows / members.length,
      memory,
    },
    broken: [...broken, ...(places.length === 1 && orphans > 0 ? [`no stage is computed for nobody: ${orphans}`] : [])],
  };
}

/** Of a crowd that comes all at once nothing is said of memory. */
const ofRows = (deployment: Deployment): Gauge => {
  const gauge = startGauge(deployment, () => 0);
  return { ...gauge, stop: async () => ({ ...(await gauge.stop()), memory: null }) };
};

/** 500 jobs of one account on one server with a line of 16. */
export async function oneLine(bundle: WorkerBundle): Promise<Result> {
  const ground = await prepare(bundle, [{ stepMs: 10, queue: 16 }], { QUEUE_SECONDS: '900' });
  try {
    const caller = await openCaller(ground.deployment);
    const gauge = ofRows(ground.deployment);
    const [members = []] = await gather([caller], 500, 'line');
    const order = (await caller.listed()).toReversed().map(({ id }) => id);
    const { counts, requests, stages } = await countAll(ground.places.map(({ server }) => server));
    const first = stagesOf(counts);
    const correlation = rankCorrelation(order.map((id, i) => [i, first.get(id)?.firstEndedAt ?? 0]));
    const waits = members.flatMap(({ ended, askedAt }) => {
      const at = ended && first.get(ended.id)?.firstAt;
      return at ? [at - askedAt] : [];
    });
    const mean = waits.reduce((sum, ms) => sum + ms, 0) / waits.length;
    const most = 2 + mean / 30_000;
    console.log(
      `one line: wait for the first stage p50 ${seconds(quantile(waits, 0.5))}, p99 ${seconds(quantile(waits, 0.99))};` +
        ` arrival and first stage correlate ${correlation.toFixed(3)}`,
    );
    const result = await judge('500 jobs, one line of 16', ground, [{ caller, members }], gauge);
    return {
      ...result,
      broken: [
        ...result.broken,
        ...(correlation > 0.98
          ? []
          : [`first come, first served: correlation ${correlation.toFixed(3)}, not over .98`]),
        ...(requests / stages <= most ? [] : [`requests a stage: ${requests / stages}, most ${most.toFixed(2)}`]),
      ],
    };
  } finally {
    await ground.stop();
  }
}

/** 300 jobs at once where an eighth of them can wait. */
export async function overLimit(bundle: WorkerBundle): Promise<Result> {
  const name = '300 jobs over the waiting limit';
  const ground = await prepare(bundle, [{ stepMs: 100 }], { QUEUE_SECONDS: '30' });
  try {
    const caller = await openCaller(ground.deployment);
    // the server shows its pace
    const shown = await Promise.all(
      [0, 1].map((i) => joinCrowd(caller, { name: `shown-${i}`, at: i, patienceMs: PATIENCE_MS })),
    );
    const answers = await Promise.all(Array.from({ length: 300 }, (_, i) => caller.start(i % 16)));
    const refused = answers.filter(isRefusal);
    const taken = answers.filter((answer) => !isRefusal(answer));
    const ended = await Promise.all(taken.map(({ id }) => caller.ended(id, PATIENCE_MS)));
    const failed = ended.filter(({ status }) => status !== 'done');
    const { stages } = await countAll(ground.places.map(({ server }) => server));
    const useful = NUM_STAGES * (shown.length + ended.length - failed.length);
    const untold = refused.filter(({ retryAfter }) => retryAfter === null || retryAfter < 1);
    const after = refused.map(({ retryAfter }) => retryAfter ?? 0);
    console.log(
      `over the limit: ${taken.length} taken, ${refused.length} refused with Retry-After` +
        ` ${Math.min(...after)} to ${Math.max(...after)} s, ${failed.length} failed,` +
        ` ${stages - useful} finished stages thrown away`,
    );
    return {
      name,
      figures: { jobs: taken.length, done: ended.length - failed.length },
      broken: [
        ...(refused.length > 0 ? [] : ['some are refused: none was']),
        ...(untold.length === 0 ? [] : [`each refusal says when to come again: ${untold.length} do not`]),
        ...(failed.length === 0 ? [] : [`what was taken is done: ${failed.length} of ${taken.length} failed`]),
        ...(stages === useful ? [] : [`no finished stage is thrown away: ${stages - useful} are`]),
      ],
    };
  } finally {
    await ground.stop();
  }
}

/** Accounts of the crowds that have several. */
const NUM_ACCOUNTS = 5;

const openCallers = (deployment: Deployment): Promise<Caller[]> =>
  Promise.all(Array.from({ length: NUM_ACCOUNTS }, (_, i) => openCaller(deployment, `crowd ${i}`)));

/** All at once on a server that takes no time. */
export async function allAtOnce(bundle: WorkerBundle, jobs: number): Promise<Result> {
  const ground = await prepare(bundle, [{ stepMs: 0 }]);
  try {
    const callers = await openCallers(ground.deployment);
    const gauge = ofRows(ground.deployment);
    const crowds = await gather(callers, jobs, 'once');
    return await judge(
      `${jobs} jobs at once`,
      ground,
      callers.map((caller, k) => ({ caller, members: crowds[k] ?? [] })),
      gauge,
    );
  } finally {
    await ground.stop();
  }
}

/** Pause between two jobs of one account, milliseconds: three jobs a second in all. */
const FLOW_MS = 1600;

/** Each so many is cancelled, at most so long after its start. */
const CANCELLED = { each: 16, afterMs: 600 } as const;
/**
 * Of each so many jobs, the one at this place is watched with thumbnails wanted, or shared once it is done; or there is
 * a request for several pictures instead.
 */
const WATCHED = { each: 4, at: 1 } as const;
const SHARED = { each: 8, at: 2 } as const;
const SEVERAL = { each: 12, at: 3 } as const;
const isAt = (i: number, { each, at }: { readonly each: number; readonly at: number }): boolean => i % each === at;
/** Of the time of blows, how long the Worker is struck too: then it lives on, and what it holds is looked at. */
const WORKER_SHARE = 2 / 3;
const TELL_MS = 300_000;

/** Jobs without end while servers and Worker are struck. */
export async function underBlows(bundle: WorkerBundle, { minutes, seed }: CrowdOptions): Promise<Result> {
  const ground = await prepare(
    bundle,
    [{ stepMs: 10 }, { stepMs: 10 }, { stepMs: 30, contract: 2 }],
    // a stage takes .1 s: what is silent for two seconds hangs
    { STAGE_SILENCE_SECONDS: '3', STAGE_TIMEOUT_SECONDS: '30' },
  );
  try {
    const callers = await openCallers(ground.deployment);
    const ofCancels = makeRandom(seed + 1);
    const begin = performance.now();
    const [until, workerUntil] = [1, WORKER_SHARE].map((share) => begin + share * minutes * 60_000) as [number, number];
    let [started, ended] = [0, 0];
    const gauge = startGauge(ground.deployment, () => ended);
    const told = setInterval(() => {
      const at = Math.round((performance.now() - begin) / 60_000);
      say({ event: 'under_blows', minutes: at, started, ended, resident_bytes: ground.deployment.residentBytes() });
    }, TELL_MS);
    const watched: Watched[] = [];
    const several: Several[] = [];
    const visited: Visited[] = [];
    async function joinOnce(caller: Caller, k: number, i: number): Promise<readonly Member[]> {
      const joining = { name: `blows-${k}-${i}`, at: i, patienceMs: PATIENCE_MS };
      if (isAt(i, SEVERAL)) {
        const asked = await askForSeveral(caller, joining);
        if (asked.several) several.push(asked.several);
        return asked.members;
      }
      const cancelAfterMs = i % CANCELLED.each === k ? ofCancels.between(0, CANCELLED.afterMs) : null;
      const watching: Promise<unknown>[] = [];
      const onStart = (id: string): void => {
        if (isAt(i, WATCHED)) watching.push(watchThrough(caller, id, PATIENCE_MS).then((seen) => watched.push(seen)));
      };
      const member = await joinCrowd(caller, { ...joining, cancelAfterMs, onStart });
      await Promise.all(watching);
      return [member];
    }
    async function showAround(caller: Caller, { ended: job }: Member, random: Random): Promise<void> {
      if (job?.status !== 'done') return;
      const seen = await visitShare(caller, job.id, random, until);
      if (seen) visited.push(seen);
    }
    const flows = callers.map(async (caller, k) => {
      const running: Promise<readonly Member[]>[] = [];
      const visits: Promise<void>[] = [];
      for (let i = 0; performance.now() < until; i++) {
        started += 1;
        const joining = joinOnce(caller, k, i).finally(() => {
          ended += 1;
        });
        running.push(joining);
        if (isAt(i, SHARED))
          visits.push(
            joining.then(([member]) => showAround(caller, member as Member, makeRandom(seed + 1000 * k + i))),
          );
        await pause(FLOW_MS);
      }
      const members = (await Promise.all(running)).flat();
      await Promise.all(visits);
      return members;
    });
    const striking = strike({ ...ground, random: makeRandom(seed), beforeKill: gauge.look }, { until, workerUntil });
    const [blows, ...crowds] = await Promise.all([striking, ...flows]).finally(() => clearInterval(told));
    const result = await judge(
      `${minutes} min of blows`,
      ground,
      callers.map((caller, k) => ({ caller, members: crowds[k] ?? [] })),
      gauge,
    );
    const looks = visited.flatMap((share) => share.looks);
    const answered = (status: number): number => looks.filter((look) => look.status === status).length;
    say({
      event: 'seen',
      watched: watched.length,
      thumbnails: watched.reduce((sum, { thumbnails }) => sum + thumbnails.length, 0),
      several: several.length,
      shares: visited.length,
      shares_ended: visited.filter(({ endedAt }) => endedAt !== null).length,
      looks: looks.length,
      ...{ opened: answered(200), shut: answered(404) },
    });
    return {
      ...result,
      figures: { ...result.figures, blows },
      broken: [...result.broken, ...brokenSights({ watched, several, visited })],
    };
  } finally {
    await ground.stop();
  }
}

/** A line for those who read with a program. */
const say = (line: Readonly<Record<string, unknown>>): void => console.log(JSON.stringify(line));

/** Runs the crowds, prints their table, and resolves to the exit code: 1 where a law did not hold. */
export async function soakCrowds(options: CrowdOptions): Promise<number> {
  const bundle = await bundleWorker();
  const counted = await bundleCounted();
  const crowds = [
    () => oneLine(counted),
    () => overLimit(bundle),
    () => allAtOnce(counted, options.jobs),
    ...(options.minutes > 0 ? [() => underBlows(counted, options)] : []),
  ];
  const results: Result[] = [];
  for (const crowd of crowds) {
    const result = await crowd();
    results.push(result);
    say({ event: 'crowd', name: result.name, ...result.figures, broken: result.broken });
  }
  console.log(table([HEADER, ...results.map(rowOf)]));
  for (const { name, broken } of results) for (const law of broken) console.log(`${name}: BROKEN: ${law}`);
  return results.some(({ broken }) => broken.length > 0) ? 1 : 0;
}
