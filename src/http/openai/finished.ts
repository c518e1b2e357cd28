/** Jobs that have ended, as OpenAI's answer has their pictures. */
import type { Context } from 'hono';
import { type DoneJob, failureOf, isDone, viewAnswer } from '../../doors/openai.ts';
import { type ImageRequest, responseFormatOf } from '../../doors/openai-request.ts';
import type { JobView } from '../../job/job.ts';
import { costHeaders } from '../cost-headers.ts';
import type { AppEnv } from '../env.ts';
import { erased, waitForJob } from '../follow.ts';
import { Problem } from '../problem.ts';
import { publicBase } from '../public-address.ts';
import { imageBase64, imageUrl } from './image-bytes.ts';

/**
 * The jobs once all have their image. Throws the Problem of the first that has none, with what they cost all together;
 * the others stay to be fetched.
 */
export async function finished(c: Context<AppEnv>, jobs: readonly JobView[]): Promise<readonly DoneJob[]> {
  const ended = await Promise.all(jobs.map(({ id }) => waitForJob(c.env, c.var.caller.account, id)));
  const headers = costHeaders(ended.map((job) => job ?? { cost: null }));
  return ended.map((job, i) => {
    if (!job) throw erased((jobs[i] as JobView).id);
    if (!isDone(job)) throw new Problem({ ...failureOf(job), headers });
    return job;
  });
}

/** The answer to a request, with the bytes or the address of each picture. */
export async function answerOf(
  c: Context<AppEnv>,
  asked: Pick<ImageRequest, 'quality' | 'safety_identifier' | 'response_format' | 'model'>,
  jobs: readonly DoneJob[],
): Promise<ReturnType<typeof viewAnswer>> {
  const origin = publicBase(c.env, c.req.url);
  const data = await Promise.all(
    jobs.map(async (job) =>
      responseFormatOf(asked) === 'url'
        ? { url: await imageUrl(c.env, origin, job) }
        : { b64_json: await imageBase64(c.env, job.id, job.image) },
    ),
  );
  return viewAnswer(asked, jobs, data);
}
