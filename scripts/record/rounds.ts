/** Rounds of the same request with a preset and with the plain model, and which of them is kept. */
import type { SeenEvent } from '../../src/job/events.ts';
import type { RecordedRun } from '../../src/job/recording.ts';
import { createJob, fetchImage, follow, type Service } from '../generate/client.ts';

/** Longest time of one job. */
const JOB_MS = 300_000;

export type Round = readonly [RecordedRun, RecordedRun];

/** The last event of a run that has come to a picture. */
export function endOf({ events }: RecordedRun): Extract<SeenEvent, { type: 'done' }> {
  const last = events.at(-1);
  if (last?.type !== 'done') throw new RangeError(`a recorded run ends with done, not with ${last?.type}`);
  return last;
}

/** The events of a job with their times since it was made. */
export function fromItsStart(events: readonly SeenEvent[]): SeenEvent[] {
  const start = events[0]?.at ?? 0;
  return events.map((event) => ({ ...event, at: event.at - start }));
}

/** How many times longer the whole plain request took. */
const ratioOf = ([own, plain]: Round): number =>
  endOf(plain).data.receipt.wall_ms.total / endOf(own).data.receipt.wall_ms.total;

/** The round whose ratio of whole requests is the median of an odd number of them. */
export function middleOf(rounds: readonly Round[]): Round {
  const middle = rounds.toSorted((one, other) => ratioOf(one) - ratioOf(other))[Math.floor(rounds.length / 2)];
  if (!middle) throw new RangeError('no round was made');
  return middle;
}

/** One job, watched as it runs. Throws an Error where it comes to no picture. */
async function recordJob(
  service: Service,
  preset: string,
  body: Readonly<Record<string, unknown>>,
): Promise<RecordedRun> {
  const job = await createJob(service, { ...body, preset, output_format: 'webp' });
  const told: SeenEvent[] = [];
  const wanted = { signal: AbortSignal.timeout(JOB_MS), thumbnails: true };
  for await (const event of follow(service, job.id, wanted)) told.push(event);
  const last = told.at(-1);
  if (last?.type !== 'done')
    throw new Error(`the job with ${preset} came to no picture: ${JSON.stringify(last?.data)}`);
  const { width, height } = last.data.image;
  const picture = await fetchImage(service, job.id);
  return {
    preset,
    events: fromItsStart(told),
    picture: { format: 'webp', width, height, b64_json: Buffer.from(picture).toString('base64') },
  };
}

/**
 * `count` rounds. One more comes first and is not kept: after it the server remembers the prompt for both, and has run
 * every shape of the graphs once.
 */
export async function recordRounds(
  service: Service,
  {
    prompt,
    seed,
    preset,
    count,
    say,
  }: {
    readonly prompt: string;
    readonly seed: number;
    readonly preset: string;
    readonly count: number;
    readonly say: (round: Round, index: number) => void;
  },
): Promise<Round[]> {
  const rounds: Round[] = [];
  for (let index = 0; index <= count; index++) {
    const own = await recordJob(service, preset, { prompt, seed });
    const plain = await recordJob(service, 'plain', { prompt, seed });
    const round: Round = [own, plain];
    if (index === 0) continue;
    say(round, index);
    rounds.push(round);
  }
  return rounds;
}
