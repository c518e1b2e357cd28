/** Webhooks of requests: what a caller may name, and the secret to verify them with. */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { type WebhookGeneration, webhookSecret } from '../account/webhook-secret.ts';
import { type AskedWebhook, type Door, refuseWebhookUrl } from '../job/webhook.ts';
import { actorOf, requireKey } from './auth.ts';
import { callObject } from './call-object.ts';
import type { AppEnv } from './env.ts';
import { secretsOf } from './gate.ts';
import { badField } from './problem.ts';
import { publicBase } from './public-address.ts';

/** The webhook of a request; null where it names none. Throws a 400 Problem for an address that may not be called. */
export function webhookOf(c: Context<AppEnv>, field: string, url: string | undefined, door: Door): AskedWebhook | null {
  if (url === undefined) return null;
  const rule = refuseWebhookUrl(url, c.env.WEBHOOK_RESOLVER === '');
  if (rule !== null) throw badField(field, url, rule);
  return { url, door, origin: publicBase(c.env, c.req.url) };
}

// Replicate's client asks for it here
const getSecret = createRoute({
  method: 'get',
  path: '/v1/webhooks/default/secret',
  summary: 'The secret that the account’s webhooks are signed with',
  middleware: [requireKey] as const,
  responses: {
    200: {
      description: 'whsec_ and base64, as Standard Webhooks has it',
      content: { 'application/json': { schema: z.object({ key: z.string() }) } },
    },
  },
});

const rotateSecret = createRoute({
  method: 'post',
  path: '/v1/webhooks/default/secret',
  summary: 'Make a new secret for webhooks; the old one signs beside it for a day',
  middleware: [requireKey] as const,
  responses: {
    200: { description: 'The new secret', content: { 'application/json': { schema: z.object({ key: z.string() }) } } },
  },
});

/** The newest secret of the caller's account. */
async function newestSecret(c: Context<AppEnv>): Promise<string> {
  const { account } = c.var.caller;
  const [generation] = await callObject(c.env.ACCOUNTS, account, (stub) => stub.webhookGenerations());
  return webhookSecret(secretsOf(c.env), account, generation as WebhookGeneration);
}

export function routeWebhooks(app: OpenAPIHono<AppEnv>): void {
  app.openapi(getSecret, async (c) => c.json({ key: await newestSecret(c) }, 200));

  app.openapi(rotateSecret, async (c) => {
    await callObject(c.env.ACCOUNTS, c.var.caller.account, (stub) => stub.rotateWebhookSecret(actorOf(c)));
    return c.json({ key: await newestSecret(c) }, 200);
  });
}
