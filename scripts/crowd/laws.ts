/** What holds after a crowd, whatever was killed under it. Pure. */
import type { JobView } from '../../src/job/job.ts';
import type { Refusal } from './caller.ts';

/** Everything that is known of one account's jobs once nothing moves any more. */
export interface Afterwards {
  /** what each start was answered, by the name that made its repetitions one */
  readonly answers: ReadonlyMap<string, Pick<JobView, 'id'> | Refusal>;
  /** the jobs as they ended, by id */
  readonly ended: ReadonlyMap<string, Pick<JobView, 'status' | 'error' | 'cost'>>;
  /** as the account lists them */
  readonly listed: readonly Pick<JobView, 'id' | 'status' | 'cost'>[];
  /** jobs that the account counts as open */
  readonly open: number;
  /** micro-dollars */
  readonly spent: number;
  readonly held: number;
  /** ids of the jobs of which the bucket has a picture, whoever's they are */
  readonly pictures: readonly string[];
  /** what the account's own comparison of ledger, jobs and outbox found */
  readonly differences: readonly unknown[];
  /** streams of stored events of some jobs, by id */
  readonly streams: ReadonlyMap<string, string>;
  /** digests of pictures, by the seed of their jobs: one each where the same job gives the same bytes */
  readonly digests: ReadonlyMap<number, ReadonlySet<string>>;
}

const micro = ({ cost }: Pick<JobView, 'cost'>): number => Math.round(Number(cost?.usd ?? 0) * 1e6);

/** Sentences that name each law that does not hold; empty where all do. */
export function brokenLaws(after: Afterwards): string[] {
  const { answers, ended, listed, open, spent, held, pictures, digests, differences, streams } = after;
  const broken: string[] = [];
  const say = (law: string, evidence: readonly unknown[]): void => {
    if (evidence.length > 0)
      broken.push(`${law}: ${evidence.length}, ${JSON.stringify(evidence.slice(0, 3)).slice(0, 300)}`);
  };
  const started = [...answers.values()].flatMap((answer) => ('id' in answer ? [answer.id] : []));
  const refused = [...answers.values()].filter((answer) => !('id' in answer));
  const ids = new Set(listed.map(({ id }) => id));
  const known = new Set(started);
  const done = [...ended].filter(([, { status }]) => status === 'done');

  say('no start is refused', refused);
  say('no job is doubled', repeated(started));
  say('no job is listed twice', repeated(listed.map(({ id }) => id)));
  say(
    'no job is lost',
    started.filter((id) => !ids.has(id)),
  );
  say(
    'the account lists what was started, and nothing else',
    [...ids].filter((id) => !known.has(id)),
  );
  say('no job is stranded', [
    ...[...ended].filter(([, { status }]) => !['done', 'failed', 'cancelled'].includes(status)),
    ...started.filter((id) => !ended.has(id)),
  ]);
  say(
    'every job is done',
    [...ended].filter(([, { status }]) => status === 'failed').map(([id, { error }]) => [id, error?.reason]),
  );
  say(
    'the account says how each ended',
    listed.filter(({ id, status }) => ended.has(id) && ended.get(id)?.status !== status),
  );
  say('counts are at zero', open === 0 && held === 0 ? [] : [{ open, held }]);
  const charged = [...ended.values()].reduce((sum, job) => sum + micro(job), 0);
  say('what was spent is what the jobs say they cost', spent === charged ? [] : [{ spent, charged }]);
  // each stage is in the price once: jobs that ask for the same cost the same
  const costs = new Set(done.map(([, one]) => micro(one)));
  say('alike jobs cost alike', costs.size > 1 ? [...costs] : []);
  say('ledger, jobs and outbox agree', differences);
  say(
    'no event is lost or doubled, and the last one tells the end',
    [...streams].flatMap(([id, text]) => {
      const fault = faultOfStream(text, ended.get(id)?.status ?? 'done');
      return fault === null ? [] : [[id, fault]];
    }),
  );
  const pictured = new Set(pictures);
  say(
    'every finished job has its picture',
    done.filter(([id]) => !pictured.has(id)).map(([id]) => id),
  );
  say(
    'no picture is without its job',
    pictures.filter((id) => ended.has(id) && ended.get(id)?.status !== 'done'),
  );
  say(
    'the same job gives the same bytes',
    [...digests].filter(([, all]) => all.size > 1).map(([seed, all]) => ({ seed, pictures: all.size })),
  );
  return broken;
}

/** What of these comes again. */
function repeated(ids: readonly string[]): readonly string[] {
  const seen = new Set<string>();
  return ids.filter((id) => seen.has(id) || !seen.add(id));
}

/** What is wrong with the stored events of a job that ended so; null: nothing is. */
function faultOfStream(text: string, end: string): string | null {
  const ids = [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
  if (ids.length === 0) return 'no event';
  if (ids.some((id, i) => id !== i + 1)) return `numbers ${ids.join(' ').slice(0, 100)}`;
  if (/^event: thumbnail$/m.test(text)) return 'a thumbnail was stored';
  const ends = [...text.matchAll(/^event: (done|failed|cancelled)$/gm)].map(([, type]) => type);
  return ends.length === 1 && ends[0] === end ? null : `ends ${ends.join(' ')}, and is ${end}`;
}

/** Everything that is known of a deployment whose crowds are over. */
export interface GroundAfterwards {
  /** what the bucket holds that is nobody's picture */
  readonly strays: readonly string[];
  /** pictures of the bucket, by their jobs */
  readonly pictures: readonly string[];
  /** ids of all jobs of all crowds */
  readonly jobs: readonly string[];
  /** slots that dispatchers count as held, and jobs that they count as waiting */
  readonly slotsHeld: number;
  readonly waiting: number;
  /** what the isolate held while it lived on; null: it did not live long enough to tell */
  readonly memory: Memory | null;
}

/** Memory at the beginning and at the end of a while in which so many jobs ended. */
export interface Memory {
  readonly firstBytes: number;
  readonly lastBytes: number;
  readonly jobs: number;
}

/** What jobs under way hold is not always the same. */
const MEMORY_SLACK = 16 * 2 ** 20;

/** Sentences that name each law of the deployment that does not hold; empty where all do. */
export function brokenGround({ strays, pictures, jobs, slotsHeld, waiting, memory }: GroundAfterwards): string[] {
  const known = new Set(jobs);
  const orphans = [...strays, ...pictures.filter((id) => !known.has(id))];
  const twice = repeated(pictures);
  return [
    ...(orphans.length === 0 ? [] : [`the bucket has nothing but pictures of jobs: ${orphans.slice(0, 3).join(', ')}`]),
    ...(twice.length === 0 ? [] : [`a job has one picture: ${twice.slice(0, 3).join(', ')} has more`]),
    ...(slotsHeld === 0 && waiting === 0
      ? []
      : [`no slot is lost and nobody waits: ${slotsHeld} are held, ${waiting} jobs wait`]),
    ...(memory === null || memory.lastBytes - memory.firstBytes <= MEMORY_SLACK
      ? []
      : [`memory does not grow: by ${memory.lastBytes - memory.firstBytes} bytes in ${memory.jobs} jobs`]),
  ];
}
