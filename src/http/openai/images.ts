/**
 * `POST /v1/images/generations`: OpenAI's image API over the job object, as JSON, as a stream of real stages, as the
 * bytes alone, or later.
 */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { Idempotency } from '../../account/account.ts';
import { type DoneJob, methodHeaders } from '../../doors/openai.ts';
import { draftImages, type ImageRequest } from '../../doors/openai-request.ts';
import { namesOf, resolveModel } from '../../fleet/models.ts';
import type { JobView } from '../../job/job.ts';
import type { FitMemo } from '../../job/plan.ts';
import { type ImageFormat, imageFormat, type ModelFacts } from '../../stage/contract.ts';
import { callJob, callObject } from '../call-object.ts';
import { costHeaders } from '../cost-headers.ts';
import type { AppEnv, Env } from '../env.ts';
import { foreignContent } from '../foreign-body.ts';
import { draftTools } from '../job-request.ts';
import { badField, Problem } from '../problem.ts';
import { rateHeaders } from '../refuse-start.ts';
import { limitBody, requireJson } from '../request-body.ts';
import { type EventWriter, sendEvents } from '../send-events.ts';
import { digestOf, idempotencyOf, startJobs } from '../start-jobs.ts';
import { answerOf, finished } from './finished.ts';
import { imageBody } from './image-body.ts';
import { imageBytes } from './image-bytes.ts';
import { writeImageEvents } from './image-events.ts';
import { answerLater, notYet, patienceOf, routeTasks } from './later.ts';
import { AZURE, type Door, OPENAI, refuseUnsupported } from './speak.ts';
import { drawn } from './views.ts';

/** Which requests count as the same for an idempotency key: the address does not matter. */
const SURFACE = '/v1/images/generations';

/** The route that draws, at a door's address. `parts` are in the address. */
const drawRoute = <P extends string>(path: P, { speaks }: Door, parts: Readonly<Record<string, z.ZodString>> = {}) =>
  createRoute({
    method: 'post',
    path,
    summary: 'Pictures as OpenAI’s clients ask for them',
    middleware: [...speaks, limitBody, requireJson, refuseUnsupported],
    request: {
      params: z.object(parts),
      headers: z.object({
        'idempotency-key': z.string().optional(),
        accept: z.string().optional().openapi({ description: 'image/*: the bytes alone, with the facts in headers' }),
        prefer: z.string().optional().openapi({
          description: 'respond-async: answer 202 at once, or after wait=SECONDS, and say where to ask for the images',
        }),
      }),
      body: foreignContent(imageBody),
    },
    responses: drawn,
  });

/**
 * What makes two requests one: the caller's own key; or else, as far as that can be told, a repetition that OpenAI's
 * client sends by itself, which has the same body and a retry count but no key. Such a one attaches to what the first
 * try started.
 */
async function idempotencyHere(c: Context<AppEnv>, body: ImageRequest): Promise<Idempotency | null> {
  const given = await idempotencyOf(c, SURFACE, body);
  const retries = c.req.header('x-stainless-retry-count');
  if (given || retries === undefined) return given;
  const digest = await digestOf(c, SURFACE, body);
  // no header can hold a zero byte, so no caller's key is like it
  return {
    key: `\0${c.var.caller.keyId}.${digest}`,
    digest,
    repetition: Math.max(0, Math.trunc(Number(retries)) || 0),
  };
}

/** Whether only bytes are wanted, and as what; null where JSON will do. */
function wantedBytes(accept: string | undefined): ImageFormat | 'any' | null {
  const types = (accept ?? '').split(',').map((type) => type.split(';')[0]?.trim() ?? '');
  if (types.includes('application/json') || types.includes('text/event-stream')) return null;
  const named = types.find((type) => type.startsWith('image/'))?.slice('image/'.length);
  if (named === undefined) return null;
  return imageFormat.safeParse(named).data ?? 'any';
}

/** Stops jobs that nobody waits for any more: not those that another request has attached to. */
async function cancelUnlessShared(
  env: Env,
  account: string,
  jobs: readonly JobView[],
  idempotencyKey: string | null,
): Promise<void> {
  if (idempotencyKey !== null && (await callObject(env.ACCOUNTS, account, (stub) => stub.isShared(idempotencyKey))))
    return;
  await Promise.all(jobs.map(({ id }) => callJob(env, id, (stub) => stub.cancel(account))));
}

const jobIds = (jobs: readonly JobView[]): string => jobs.map(({ id }) => id).join(', ');

/** OpenAI's own addresses, and those of Azure, whose deployments are models by id or alias. */
export function routeOpenAIImages(app: OpenAPIHono<AppEnv>, memo: FitMemo): void {
  for (const { surface, door } of [
    { surface: SURFACE, door: OPENAI },
    { surface: '/openai/v1/images/generations', door: AZURE },
  ]) {
    app.openapi(drawRoute(surface, door), (c) => draw(c, { memo, body: c.req.valid('json'), tasks: surface }));
    routeTasks(app, surface, door);
  }
  const deployed = drawRoute('/openai/deployments/{deployment}/images/generations', AZURE, { deployment: z.string() });
  app.openapi(deployed, (c) => {
    const deployment = c.req.param('deployment') ?? '';
    return draw(c, { memo, body: { ...c.req.valid('json'), model: deployment }, deployment });
  });
}

/** A request for images. */
interface Asking {
  readonly memo: FitMemo;
  readonly body: ImageRequest;
  /** below which address the request can be asked for later; none: it is waited for */
  readonly tasks?: string;
  /** what Azure calls the model */
  readonly deployment?: string;
}

/** Throws Azure's 404 where a deployment is no model. */
function requireDeployment(models: readonly ModelFacts[], deployment: string): void {
  if (resolveModel(models, deployment)) return;
  throw new Problem({
    status: 404,
    code: 'DeploymentNotFound',
    detail: `There is no deployment ${deployment.slice(0, 100)}: a deployment is a model here, ${namesOf(models)}.`,
  });
}

async function draw(c: Context<AppEnv>, { memo, body, tasks, deployment }: Asking): Promise<Response> {
  const began = Date.now();
  const bytes = wantedBytes(c.req.header('accept'));
  if (bytes && body.stream) throw badField('stream', true, 'needs Accept: text/event-stream or application/json');
  if (bytes && (body.n ?? body.num_images ?? 1) > 1)
    throw badField('n', body.n, 'must be 1 where the answer is the bytes of an image');
  const idempotency = await idempotencyHere(c, body);
  const started = await startJobs(c, {
    isThere: (models) => resolveModel(models, body.model) !== null,
    draft: (models, offer) => {
      if (deployment !== undefined) requireDeployment(models, deployment);
      return draftImages(
        body,
        models,
        draftTools(c.env, offer, resolveModel(models, body.model)),
        bytes && bytes !== 'any' ? bytes : 'png',
      );
    },
    memo,
    idempotency,
    user: body.user || body.safety_identifier || null,
  });
  const headers = {
    ...rateHeaders(started.rate),
    'x-ralu-job-id': jobIds(started.jobs),
    ...(started.isReplay && { 'idempotent-replayed': 'true' }),
  };
  // from here on work is under way: whatever the answer is, it names the jobs, and asking again by itself would ask
  // for it twice
  for (const [name, value] of Object.entries({ ...headers, 'x-should-retry': 'false' })) c.header(name, value);
  // a stream's caller has nothing else to stop the work with, unless the job can be had again by key
  const onLeave = body.ralu?.on_disconnect ?? (body.stream && !c.req.header('idempotency-key') ? 'cancel' : 'continue');
  const isOurs = onLeave === 'cancel' && !started.isReplay;
  const cancel = (): void => {
    if (isOurs)
      c.executionCtx.waitUntil(cancelUnlessShared(c.env, c.var.caller.account, started.jobs, idempotency?.key ?? null));
  };
  c.req.raw.signal.addEventListener('abort', cancel);

  if (body.stream) {
    const write = async (writer: EventWriter): Promise<void> => {
      // one of several images without a picture ends the stream; nobody waits for the others then
      const { hasFailed } = await writeImageEvents(
        { env: c.env, account: c.var.caller.account, body, jobs: started.jobs },
        writer,
      );
      if (hasFailed) cancel();
    };
    return sendEvents(c, write, { ...headers, ...costHeaders(started.jobs) }, cancel);
  }

  const patience = tasks === undefined || bytes ? null : patienceOf(c.req.header('prefer'));
  const pending = patience !== null && (await notYet(c, started.jobs, patience));
  if (tasks !== undefined && pending) return answerLater(c, { jobs: pending, body, surface: tasks, headers });

  const jobs = await finished(c, started.jobs);
  const timed = { ...headers, ...costHeaders(jobs), 'openai-processing-ms': String(Date.now() - began) };
  if (bytes) {
    const [{ id, image, receipt }] = jobs as [DoneJob];
    return c.body(await imageBytes(c.env, id, image), 200, {
      ...timed,
      ...methodHeaders(receipt),
      'content-type': `image/${image.format}`,
    });
  }
  return c.json(await answerOf(c, body, jobs), 200, timed);
}
