/**
 * Images that nobody waits for: `Prefer: respond-async` gets a 202 that names the task, and the task is asked for. Its
 * id is that of its job, or of its jobs with commas between them, so nothing is kept but the jobs.
 */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { isDone, viewTask } from '../../doors/openai.ts';
import { type ImageRequest, responseFormatOf } from '../../doors/openai-request.ts';
import { waitSeconds } from '../../doors/replicate-request.ts';
import type { JobView } from '../../job/job.ts';
import { callJob } from '../call-object.ts';
import { costHeaders } from '../cost-headers.ts';
import type { AppEnv } from '../env.ts';
import { waitForJob } from '../follow.ts';
import { jobId, jobNotFound } from '../job-id.ts';
import { badField } from '../problem.ts';
import { publicBase } from '../public-address.ts';
import { anyWord } from '../spellings.ts';
import { answerOf } from './finished.ts';
import { MAX_IMAGES } from './image-body.ts';
import type { Door } from './speak.ts';
import { oneTask } from './views.ts';

const BETWEEN = ',';

/** Seconds to wait before a 202 that is asked for, by `respond-async` or `respond-async, wait=10`; null: it is not. */
export const patienceOf = (prefer: string | undefined): number | null =>
  /(?:^|[,;\s])respond-async(?:$|[,;\s])/i.test(prefer ?? '') ? waitSeconds(prefer) : null;

/**
 * The jobs as they are `seconds` later at most; null where all of them have their image by then, and the answer may as
 * well be the whole one.
 */
export async function notYet(
  c: Context<AppEnv>,
  jobs: readonly JobView[],
  seconds: number,
): Promise<readonly JobView[] | null> {
  if (seconds === 0) return jobs;
  const waited = await Promise.all(
    jobs.map(async (job) => (await waitForJob(c.env, c.var.caller.account, job.id, seconds * 1000)) ?? job),
  );
  return waited.every(isDone) ? null : waited;
}

/** The 202: the task, and where it is asked for. */
export function answerLater(
  c: Context<AppEnv>,
  {
    jobs,
    body,
    surface,
    headers,
  }: {
    readonly jobs: readonly JobView[];
    readonly body: ImageRequest;
    readonly surface: string;
    readonly headers: Readonly<Record<string, string>>;
  },
): Response {
  const id = jobs.map((job) => job.id).join(BETWEEN);
  const address = `${publicBase(c.env, c.req.url)}${surface}/${id}?response_format=${responseFormatOf(body)}`;
  return c.json({ ...viewTask(id, jobs, null), poll_url: address }, 202, {
    ...headers,
    ...costHeaders(jobs),
    location: address,
    'preference-applied': 'respond-async',
    'retry-after': '1',
  });
}

/** The route that tells how far a task is, below a door's address for images. */
const taskRoute = <S extends string>(surface: S, { speaks }: Door) =>
  createRoute({
    method: 'get',
    path: `${surface}/{id}` as const,
    summary: 'A request that was answered with 202: the pictures once they are there',
    middleware: speaks,
    request: {
      params: z.object({ id: z.string() }),
      query: z.object({ response_format: anyWord(['b64_json', 'url'], { base64: 'b64_json' }) }),
    },
    responses: {
      200: oneTask('The task; with status completed the fields of the images’ answer'),
      404: { description: 'There is no such task, or it has expired' },
    },
  });

export function routeTasks(app: OpenAPIHono<AppEnv>, surface: string, door: Door): void {
  app.openapi(taskRoute(surface, door), async (c) => {
    const { id } = c.req.valid('param');
    const ids = id.split(BETWEEN);
    if (ids.length > MAX_IMAGES) throw badField('id', id, `must name at most ${MAX_IMAGES} jobs`);
    if (new Set(ids).size < ids.length) throw badField('id', id, 'must name each job once');
    const jobs = await Promise.all(
      ids.map(async (one) => {
        const job = await callJob(c.env, await jobId(c, one), (stub) => stub.view(c.var.caller.account));
        if (!job) throw jobNotFound(one);
        return job;
      }),
    );
    const headers = { ...costHeaders(jobs), 'x-ralu-job-id': ids.join(', '), 'x-should-retry': 'false' };
    const done = jobs.filter(isDone);
    const isWhole = done.length === jobs.length;
    const answer = isWhole ? await answerOf(c, c.req.valid('query'), done) : null;
    return c.json(viewTask(id, jobs, answer), 200, headers);
  });
}
