/**
 * AUTOMATIC1111's API below `/sdapi/v1`, as a thin translation over jobs. It keeps no settings: what a request asks for
 * is in the request. Progress and interruption are about what the caller's own key has under way.
 */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { JobQuery } from '../account/account.ts';
import {
  currentOf,
  NONE,
  viewCheckpoints,
  viewImages,
  viewOptions,
  viewSamplers,
  viewSchedulers,
  viewUnderWay,
  viewUpscalers,
} from '../doors/a1111.ts';
import { viewPngInfo } from '../doors/a1111-infotext.ts';
import { type A1111Request, checkpointOf, draftA1111, isThere } from '../doors/a1111-request.ts';
import { namesOf, resolveModel } from '../fleet/models.ts';
import type { JobView } from '../job/job.ts';
import type { FitMemo } from '../job/plan.ts';
import { base64File } from '../picture/base64-file.ts';
import type { FileBytes } from '../picture/bytes.ts';
import { textsOf } from '../picture/texts.ts';
import type { ModelFacts } from '../stage/contract.ts';
import { a1111Body, MAX_PICTURE_BYTES, optionsBody, pngInfoBody } from './a1111-body.ts';
import { json } from './accounts/wire.ts';
import { readKeyFromBasic, requireKey } from './auth.ts';
import { callJob, callObject } from './call-object.ts';
import { costHeaders } from './cost-headers.ts';
import type { AppEnv } from './env.ts';
import { foreignContent } from './foreign-body.ts';
import { draftTools } from './job-request.ts';
import { offerFor } from './offer.ts';
import { finished } from './openai/finished.ts';
import { imageBase64 } from './openai/image-bytes.ts';
import { badField } from './problem.ts';
import { rateHeaders } from './refuse-start.ts';
import { limitBody, limitBodyTo, requireJson } from './request-body.ts';
import * as views from './schemas/a1111.ts';
import { lookAt } from './so-far.ts';
import { speakFastAPI } from './speak-fastapi.ts';
import { anyBoolean } from './spellings.ts';
import { idempotencyOf, NOT_PAID, startJobs } from './start-jobs.ts';

const BASE = '/sdapi/v1';
/** Most jobs of a request. */
const MAX_JOBS = 50;

const open = [speakFastAPI, readKeyFromBasic, requireKey];

const draw = createRoute({
  method: 'post',
  path: `${BASE}/txt2img`,
  summary: 'Pictures as tools for AUTOMATIC1111 ask for them',
  middleware: [...open, limitBody, requireJson],
  request: { headers: z.object({ 'idempotency-key': z.string().optional() }), body: foreignContent(a1111Body) },
  responses: { 200: json(views.images, 'The images'), 402: NOT_PAID },
});
const progress = createRoute({
  method: 'get',
  path: `${BASE}/progress`,
  summary: 'How far the newest request of the key is, with the picture of its last stage',
  middleware: open,
  request: { query: z.object({ skip_current_image: anyBoolean.optional() }) },
  responses: { 200: json(views.progress, 'The progress') },
});
const interrupt = createRoute({
  method: 'post',
  path: `${BASE}/interrupt`,
  summary: 'Stop the newest request of the key',
  middleware: open,
  responses: { 200: json(views.stopped, 'Stopped, or there was nothing to stop') },
});
const setOptions = createRoute({
  method: 'post',
  path: `${BASE}/options`,
  summary: 'Check options: none is kept',
  middleware: [...open, limitBody, requireJson],
  request: { body: foreignContent(optionsBody) },
  responses: { 200: json(views.optionsChecked, 'Null, or what was ignored') },
});
const pngInfo = createRoute({
  method: 'post',
  path: `${BASE}/png-info`,
  summary: 'What a picture file says it was made with',
  middleware: [...open, limitBodyTo(MAX_PICTURE_BYTES), requireJson],
  request: { body: foreignContent(pngInfoBody) },
  responses: { 200: json(views.pngInfo, 'Its settings, as text and by their names, and its other texts') },
});

/** A list of what there is: `view` shows the models, as `schema` says. */
const list = <T>(name: string, summary: string, view: (models: readonly ModelFacts[]) => T, schema: z.ZodType<T>) => ({
  view,
  route: createRoute({
    method: 'get',
    path: `${BASE}/${name}`,
    summary,
    middleware: open,
    responses: { 200: json(schema, summary) },
  }),
});
const LISTS = [
  list<unknown>('options', 'The options', viewOptions, views.options),
  list<unknown>('sd-models', 'The models', viewCheckpoints, views.checkpoints),
  list<unknown>('samplers', 'The solvers', viewSamplers, views.samplers),
  list<unknown>('schedulers', 'The presets of the first model', viewSchedulers, views.schedulers),
  list<unknown>('upscalers', 'How pictures of other sizes are made', viewUpscalers, views.upscalers),
];

export function routeA1111(app: OpenAPIHono<AppEnv>, memo: FitMemo): void {
  app.openapi(draw, async (c) => {
    const body: A1111Request = c.req.valid('json');
    const started = await startJobs(c, {
      memo,
      isThere: (models) => isThere(models, body),
      draft: (models, offer) =>
        draftA1111(body, models, draftTools(c.env, offer, resolveModel(models, checkpointOf(body)))),
      idempotency: await idempotencyOf(c, c.req.path, body),
    });
    const headers = { ...rateHeaders(started.rate), 'x-ralu-job-id': started.jobs.map(({ id }) => id).join(', ') };
    for (const [name, value] of Object.entries(headers)) c.header(name, value);
    const jobs = await finished(c, started.jobs);
    const images =
      body.send_images === false ? [] : await Promise.all(jobs.map(({ id, image }) => imageBase64(c.env, id, image)));
    return c.json(viewImages(body, jobs, images), 200, { ...headers, ...costHeaders(jobs) });
  });

  app.openapi(progress, async (c) => {
    const jobs = await underWay(c);
    const current = currentOf(jobs);
    if (!current) return c.json(viewUnderWay(null), 200);
    const { stage, step, picture } = await lookAt(c.env, c.var.caller.account, current.id);
    const shown = c.req.valid('query').skip_current_image ? null : (picture?.b64_json ?? null);
    return c.json(viewUnderWay({ jobs, stage, step, picture: shown, now: Date.now() }), 200);
  });

  app.openapi(interrupt, async (c) => {
    const jobs = await underWay(c);
    await Promise.all(jobs.map(({ id }) => callJob(c.env, id, (stub) => stub.cancel(c.var.caller.account))));
    return c.json({}, 200);
  });

  app.openapi(setOptions, async (c) => {
    const options = c.req.valid('json');
    const { models } = await offerFor(c);
    const name = checkpointOf({ override_settings: options });
    const field = 'sd_model_checkpoint';
    if (name !== undefined && !resolveModel(models, name)) throw badField(field, name, `must be ${namesOf(models)}`);
    if (name !== undefined && resolveModel(models, name) !== models[0])
      throw badField(field, name, 'is not kept: name it in override_settings of each txt2img');
    const known = viewOptions(models) as Readonly<Record<string, unknown>>;
    const ignored = Object.keys(options).filter((key) => key !== field && options[key] !== known[key]);
    const warnings = ignored.map((key) => `${key.slice(0, 100)} is ignored: no options are kept`);
    return c.json(warnings.length > 0 ? { warnings } : null, 200);
  });

  app.openapi(pngInfo, async (c) => {
    const file = pictureIn(c.req.valid('json').image);
    const texts = file && textsOf(file);
    if (!texts) throw badField('image', undefined, 'must be a PNG, JPEG or WebP file in base64');
    return c.json(viewPngInfo(texts), 200);
  });

  for (const { route, view } of LISTS) app.openapi(route, async (c) => c.json(view((await offerFor(c)).models), 200));
  // what is not here is no part of the OpenAPI document, and no secret
  for (const [name, none] of Object.entries(NONE)) app.get(`${BASE}/${name}`, (c) => c.json(none, 200));
}

/** A file that came as base64, or as a data URI; null where it is neither. No address is fetched. */
const pictureIn = (text: string): FileBytes | null =>
  base64File(text.startsWith('data:') ? text.slice(text.indexOf(',') + 1) : text);

/** The jobs of the newest request of the caller's key of which one is open, in its order; none where there is none. */
async function underWay(c: Context<AppEnv>): Promise<readonly JobView[]> {
  const { account, keyId } = c.var.caller;
  const jobsOf = (query: Pick<JobQuery, 'status' | 'requestId' | 'keyId'>) =>
    callObject(c.env.ACCOUNTS, account, (stub) => stub.jobs({ before: null, limit: MAX_JOBS, ...query }));
  const [newest] = await jobsOf({ status: 'open', requestId: null, keyId });
  if (!newest) return [];
  const entries = (await jobsOf({ status: null, requestId: newest.requestId })).filter((job) => job.keyId === keyId);
  const views = await Promise.all(
    entries.toReversed().map(({ id }) => callJob(c.env, id, (stub) => stub.view(account))),
  );
  return views.filter((job) => job !== null);
}
