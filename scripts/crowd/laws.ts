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
  /** ids of the jobs of which the bucket has a picture */
  readonly pictures: readonly string[];
  /** digests of pictures, by the seed of their jobs: one each where the same job gives the same bytes */
  readonly digests: ReadonlyMap<number, ReadonlySet<string>>;
}

const micro = ({ cost }: Pick<JobView, 'cost'>): number => Math.round(Number(cost?.usd ?? 0) * 1e6);

/** Sentences that name each law that does not hold; empty where all do. */
export function brokenLaws(after: Afterwards): string[] {
  const { answers, ended, listed, open, spent, held, pictures, digests } = after;
  const broken: string[] = [];
  const say = (law: string, evidence: readonly unknown[]): void => {
    if (evidence.length > 0)
      broken.push(`${law}: ${evidence.length}, ${JSON.stringify(evidence.slice(0, 3)).slice(0, 300)}`);
  };
  const started = [...answers.values()].flatMap((answer) => ('id' in answer ? [answer.id] : []));
  const refused = [...answers.values()].filter((answer) => !('id' in answer));
  const ids = new Set(listed.map(({ id }) => id));
  const done = [...ended].filter(([, { status }]) => status === 'done');

  say('no start is refused', refused);
  say(
    'no job is doubled',
    started.filter((id, i) => started.indexOf(id) !== i),
  );
  say(
    'no job is lost',
    started.filter((id) => !ids.has(id)),
  );
  say(
    'the account lists what was started, and nothing else',
    [...ids].filter((id) => !started.includes(id)),
  );
  say(
    'no job is stranded',
    [...ended].filter(([, { status }]) => !['done', 'failed', 'cancelled'].includes(status)),
  );
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
