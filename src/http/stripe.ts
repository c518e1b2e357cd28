/** Webhooks of Stripe: a Checkout session that was paid tops up the prepaid account that it names. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { ACCOUNT_ID } from '../account/key.ts';
import { readTopUp, type SignatureFault, signatureFault, type TopUp } from '../billing/stripe.ts';
import { WHOLE_BODY } from '../doors/problem.ts';
import { logLine } from '../job/log.ts';
import { callObject } from './call-object.ts';
import type { AppEnv } from './env.ts';
import { giveBackTry, notConfigured, takeTry } from './gate.ts';
import { badField, Problem } from './problem.ts';
import { limitBody } from './request-body.ts';

const SIGNATURE_RULES: Readonly<Record<SignatureFault, string>> = {
  malformed: 'must be t=…,v1=… as Stripe signs',
  too_old: 'must be of the last 5 minutes',
  wrong: 'must sign this body with the secret of the endpoint',
};

/** The event that Stripe signed. Throws a 503 Problem without the secret, a 400 for what is not signed or no JSON. */
async function signedEvent(c: Context<AppEnv>): Promise<unknown> {
  const { STRIPE_WEBHOOK_SECRET: secret } = c.env;
  if (!secret) throw notConfigured('STRIPE_WEBHOOK_SECRET');
  takeTry(c);
  const header = c.req.header('stripe-signature') ?? '';
  const body = new Uint8Array(await c.req.arrayBuffer());
  const fault = await signatureFault(secret, header, body, Math.floor(Date.now() / 1000));
  if (fault !== null) throw badField('stripe-signature', undefined, SIGNATURE_RULES[fault], 'invalid_signature');
  giveBackTry(c);
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch {
    throw badField(WHOLE_BODY, undefined, 'must be JSON');
  }
}

/** Somebody has paid, and it is nobody's: an alert here, and a status that Stripe shows its operator. */
function unplaced(request: string, posting: string | null, problem: Problem): Problem {
  logLine('alert', { request_id: request, what: 'payment_not_placed', posting, reason: problem.message });
  return problem;
}

/** Pays in what a session paid. Throws a Problem where the account is none, or does not pay ahead. */
async function pay(c: Context<AppEnv>, { account: id, posting }: Extract<TopUp, { kind: 'top_up' }>): Promise<void> {
  const refuse = (problem: Problem): Problem => unplaced(c.var.requestId, posting.id, problem);
  const field = 'data.object.client_reference_id';
  const account = ACCOUNT_ID.test(id) ? await callObject(c.env.ACCOUNTS, id, (stub) => stub.view()) : null;
  if (!account) throw refuse(badField(field, id, 'must be the id of an account', 'account_not_found'));
  if (account.balance.mode !== 'prepaid')
    throw refuse(badField(field, id, 'must be an account that pays ahead', 'account_not_prepaid'));
  const posted = await callObject(c.env.ACCOUNTS, id, (stub) => stub.post(posting, 'stripe'));
  if (posted?.kind === 'posted') return;
  throw refuse(
    new Problem({
      status: 409,
      code: 'payment_conflict',
      detail: `The payment ${posting.id} cannot be entered: ${posted?.kind ?? 'the account is gone'}.`,
    }),
  );
}

/** The route is Stripe's, not a caller's: it needs a signature, no key, and is not in the document of the API. */
export function routeStripe(app: OpenAPIHono<AppEnv>): void {
  app.post('/v1/stripe/webhook', limitBody, async (c) => {
    const topUp = readTopUp(await signedEvent(c));
    if (topUp.kind === 'refused') throw unplaced(c.var.requestId, null, badField(topUp.field, topUp.value, topUp.rule));
    if (topUp.kind === 'top_up') await pay(c, topUp);
    return c.json({ received: true });
  });
}
