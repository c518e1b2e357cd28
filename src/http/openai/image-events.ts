/** Running jobs as OpenAI's image stream, followed until each has its image or one has failed. */
import {
  type EventPlace,
  failureOf,
  type ImageEvent,
  viewCompleted,
  viewProgress,
  viewStreamError,
} from '../../doors/openai.ts';
import type { ImageRequest } from '../../doors/openai-request.ts';
import type { JobView } from '../../job/job.ts';
import type { Env } from '../env.ts';
import { followJob } from '../follow.ts';
import { Problem } from '../problem.ts';
import type { EventWriter } from '../send-events.ts';
import { imageBase64 } from './image-bytes.ts';

const send = (write: EventWriter, data: ImageEvent): Promise<void> => write.event(data.type, JSON.stringify(data));

/** What a stream of some jobs is made for. */
export interface ImageStream {
  readonly env: Env;
  readonly account: string;
  readonly body: ImageRequest;
  readonly jobs: readonly JobView[];
}

/**
 * The events of all jobs as they come, until each has its image or one has failed. `hasFailed` tells which; `write`
 * rejects once nobody reads.
 */
export async function writeImageEvents(
  { env, account, body, jobs }: ImageStream,
  write: EventWriter,
): Promise<{ readonly hasFailed: boolean }> {
  let ended: Parameters<typeof viewStreamError>[1] = null;
  const follow = async (job: JobView, image_index: number): Promise<void> => {
    let place: EventPlace = { asked: body, job, image_index, partial_image_index: 0 };
    for await (const event of followJob(env, account, job.id)) {
      if (event === null) {
        await write.comment();
        continue;
      }
      switch (event.type) {
        case 'failed':
          ended ??= event.data;
          throw new Problem(failureOf({ id: job.id, error: event.data }));
        case 'cancelled':
          ended ??= event.data;
          throw new Problem(failureOf({ id: job.id, error: null }));
        case 'done': {
          const { image, receipt } = event.data;
          await send(write, viewCompleted(receipt, await imageBase64(env, job.id, image), place));
          break;
        }
        case 'preview':
          await send(write, viewProgress(event, place));
          place = { ...place, partial_image_index: place.partial_image_index + 1 };
          break;
        case 'queued':
        case 'plan':
        case 'stage':
        case 'step':
        case 'retry':
        case 'selection':
          await send(write, viewProgress(event, place));
          break;
      }
    }
  };

  try {
    await Promise.all(jobs.map(follow));
    return { hasFailed: false };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    await send(write, viewStreamError(error.fields, ended));
    return { hasFailed: true };
  }
}
