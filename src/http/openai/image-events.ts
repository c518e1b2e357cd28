/**
 * Running jobs as OpenAI's image stream: their clean estimates as partial images, then the image; in between, as events
 * that OpenAI's clients hand on untouched, what the method does. On the wire: `event: type`, `data: JSON` with the same
 * `type`. A client throws at any event with a truthy `error`, so only a failure has one.
 */
import type { StoredEvent } from '../../job/events.ts';
import type { JobView } from '../../job/job.ts';
import type { Env } from '../env.ts';
import { followJob } from '../follow.ts';
import { Problem } from '../problem.ts';
import type { EventWriter } from '../send-events.ts';
import { failureOf, toOpenAIError } from './errors.ts';
import { commonFields, imageBase64, methodOf, usageOf } from './image-answer.ts';
import type { ImageBody } from './image-request.ts';

interface ImageEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

const send = (write: EventWriter, data: ImageEvent): Promise<void> => write.event(data.type, JSON.stringify(data));

/** What a stream of some jobs is made for. */
export interface ImageStream {
  readonly env: Env;
  readonly account: string;
  readonly body: ImageBody;
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
  const follow = async (job: JobView, image_index: number): Promise<void> => {
    let partials = 0;
    for await (const event of followJob(env, account, job.id)) {
      if (event === null) {
        await write.comment();
        continue;
      }
      if (event.type === 'failed') throw failureOf({ id: job.id, error: event.data });
      if (event.type === 'cancelled') throw failureOf({ id: job.id, error: null });
      const told = await translate(event, job, { image_index, partial_image_index: partials });
      if (event.type === 'preview') partials++;
      await send(write, told);
    }
  };

  const translate = async (
    event: StoredEvent,
    job: JobView,
    place: { readonly image_index: number; readonly partial_image_index: number },
  ): Promise<ImageEvent> => {
    const common = { created_at: job.created_at, ...commonFields(body, job) };
    const { image_index, partial_image_index } = place;
    switch (event.type) {
      case 'preview': {
        const { b64_json, width, height, format, stage } = event.data;
        // the size told is that of this picture: an early stage is decoded small
        return {
          ...common,
          type: 'image_generation.partial_image',
          b64_json,
          partial_image_index,
          size: `${width}x${height}`,
          output_format: format,
          image_index,
          stage,
        };
      }
      case 'done': {
        const { image, receipt } = event.data;
        const b64_json = await imageBase64(env, job.id, image);
        return {
          ...common,
          type: 'image_generation.completed',
          b64_json,
          usage: usageOf([receipt]),
          image_index,
          ralu: methodOf([receipt]),
        };
      }
      default:
        return { job_id: job.id, image_index, ...event.data, type: `ralu.${event.type}` };
    }
  };

  try {
    await Promise.all(jobs.map(follow));
    return { hasFailed: false };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    await send(write, { type: 'error', error: toOpenAIError(error.fields) });
    return { hasFailed: true };
  }
}
