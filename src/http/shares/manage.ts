/** `/v1/jobs/{id}/shares`: links that show a finished picture to whoever has them, made, listed and ended. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { isShareId, newShareId, shareToken } from '../../account/share.ts';
import { MAX_SHARES, type Share } from '../../job/share.ts';
import { requireKey } from '../auth.ts';
import { callJob, callObject } from '../call-object.ts';
import type { AppEnv } from '../env.ts';
import { jobId, jobNotFound } from '../job-id.ts';
import { Problem } from '../problem.ts';
import { publicBase } from '../public-address.ts';
import { limitBody, requireJson } from '../request-body.ts';

const DAY_SECONDS = 86_400;

const jobParam = z.object({ id: z.string().openapi({ example: 'job_0123456789abcdef0123456789abcdef' }) });
const shareBody = z.strictObject({
  expires_in: z
    .int()
    .min(60)
    .max(365 * DAY_SECONDS)
    .default(30 * DAY_SECONDS)
    .openapi({ description: 'seconds that the link opens; it ends with its picture at the latest' }),
});
const shareView = z
  .object({
    id: z.string(),
    url: z.string().openapi({ description: 'a page that needs no key' }),
    created_at: z.int(),
    expires_at: z
      .int()
      .openapi({ description: 'Unix seconds: when the link ends, or the picture where that is sooner' }),
  })
  .openapi('Share');
const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { 'application/json': { schema } },
});

const makeShare = createRoute({
  operationId: 'shareJob',
  method: 'post',
  path: '/v1/jobs/{id}/shares',
  summary: 'Make a link that shows the finished picture to whoever has it',
  middleware: [requireKey, limitBody, requireJson] as const,
  request: { params: jobParam, body: { required: true, content: { 'application/json': { schema: shareBody } } } },
  responses: {
    201: json(shareView, 'The link'),
    409: { description: 'There is no image, or none yet; or it has as many links as it may' },
  },
});
const listShares = createRoute({
  operationId: 'listShares',
  method: 'get',
  path: '/v1/jobs/{id}/shares',
  summary: 'The links to a picture that open, oldest first',
  middleware: [requireKey] as const,
  request: { params: jobParam },
  responses: {
    200: json(z.object({ object: z.literal('list'), data: z.array(shareView).max(MAX_SHARES) }), 'The links'),
  },
});
const endShare = createRoute({
  operationId: 'endShare',
  method: 'delete',
  path: '/v1/jobs/{id}/shares/{share}',
  summary: 'End a link',
  middleware: [requireKey] as const,
  request: { params: jobParam.extend({ share: z.string().openapi({ example: '0123456789abcdef' }) }) },
  responses: { 204: { description: 'It opens no more' } },
});

async function viewShare(
  c: Context<AppEnv>,
  job: string,
  { id, createdAt, expiresAt }: Share,
): Promise<z.infer<typeof shareView>> {
  const token = await shareToken(c.env.SIGNING_SECRET, job, id);
  return {
    id,
    url: `${publicBase(c.env, c.req.url)}/s/${token}`,
    created_at: Math.floor(createdAt / 1000),
    expires_at: Math.floor(expiresAt / 1000),
  };
}

const imageNotReady = (id: string, status: string): Problem =>
  new Problem({
    status: 409,
    code: 'image_not_ready',
    detail: `Job ${id} has no image to share: it is ${status}.`,
  });

const tooManyShares = (): Problem =>
  new Problem({
    status: 409,
    code: 'too_many_shares',
    detail: `The picture has ${MAX_SHARES} links that open; end one first.`,
  });

const shareNotFound = (): Problem =>
  new Problem({ status: 404, code: 'share_not_found', detail: 'The job has no such link; it may have ended.' });

export function routeShares(app: OpenAPIHono<AppEnv>): void {
  app.openapi(makeShare, async (c) => {
    const id = await jobId(c, c.req.valid('param').id);
    const { account } = c.var.caller;
    const [job, shares] = await Promise.all([
      callJob(c.env, id, (stub) => stub.view(account)),
      callJob(c.env, id, (stub) => stub.shares(account)),
    ]);
    if (!job || !shares) throw jobNotFound(id);
    if (!job.image) throw imageNotReady(id, job.status);
    // nothing is written down of what is refused
    if (shares.length >= MAX_SHARES) throw tooManyShares();
    // made here: a call that is repeated makes no second one
    const share = { id: newShareId(), ms: c.req.valid('json').expires_in * 1000 };
    await callObject(c.env.ACCOUNTS, account, (stub) => stub.noteShare(id, share.id, 'share_asked', c.var.actor));
    const taken = await callJob(c.env, id, (stub) => stub.share(account, share));
    switch (taken.kind) {
      case 'shared':
        return c.json(await viewShare(c, id, taken.share), 201);
      case 'no_job':
        throw jobNotFound(id);
      case 'no_image':
        throw imageNotReady(id, taken.status);
      case 'too_many':
        throw tooManyShares();
    }
  });

  app.openapi(listShares, async (c) => {
    const id = await jobId(c, c.req.valid('param').id);
    const shares = await callJob(c.env, id, (stub) => stub.shares(c.var.caller.account));
    if (!shares) throw jobNotFound(id);
    const data = await Promise.all(shares.map((share) => viewShare(c, id, share)));
    return c.json({ object: 'list' as const, data }, 200);
  });

  app.openapi(endShare, async (c) => {
    const { id: name, share } = c.req.valid('param');
    const id = await jobId(c, name);
    const { account } = c.var.caller;
    const shares = await callJob(c.env, id, (stub) => stub.shares(account));
    if (!shares) throw jobNotFound(id);
    if (!isShareId(share) || !shares.some((one) => one.id === share)) throw shareNotFound();
    await callObject(c.env.ACCOUNTS, account, (stub) => stub.noteShare(id, share, 'share_end_asked', c.var.actor));
    await callJob(c.env, id, (stub) => stub.unshare(account, share));
    return c.body(null, 204);
  });
}
