/** What stands before every door: the deployment's secrets, and a limit on bad tries of an address. */
import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import { makeDoubts, senderOf } from '../account/doubts.ts';
import { type Secrets, secretsFrom } from '../account/hmac.ts';
import { oldFormsUntil } from '../account/old-forms.ts';
import { makeReads, type ReadKind } from '../account/reads.ts';
import { makeStandings } from '../account/standing.ts';
import { makeSuspensions } from '../account/suspensions.ts';
import { makeFleetMemory } from '../fleet/said.ts';
import { within } from '../stage/time-limit.ts';
import type { AppEnv, Env, Gate } from './env.ts';
import { Problem } from './problem.ts';

/** Longest wait for what another request asks an account: that request may have been cut off. */
const JOINED_MS = 1_000;

/** What an isolate remembers: nothing at first. */
export const makeGate = (): Gate => ({
  standings: makeStandings(() => Date.now()),
  doubts: makeDoubts(),
  reads: makeReads(),
  suspensions: makeSuspensions({
    now: () => Date.now(),
    wait: (answer) => within(JOINED_MS, 'the account, which another request asks,', answer),
    waitMs: JOINED_MS,
  }),
  fleet: makeFleetMemory(),
});

/** What keys, ids and links are signed with. Throws a 503 Problem where the deployment has nothing. */
export function secretsOf(env: Pick<Env, 'SIGNING_SECRET' | 'SIGNING_SECRET_PREVIOUS'>): Secrets {
  if (!env.SIGNING_SECRET) throw notConfigured('SIGNING_SECRET');
  return secretsFrom(env);
}

export const notConfigured = (secret: string): Problem =>
  new Problem({ status: 503, code: 'not_configured', detail: `This deployment has no ${secret} secret yet.` });

/** Whether keys and ids of the first form are taken now. */
export const takesOldForms = ({ OLD_KEYS_UNTIL }: Pick<Env, 'OLD_KEYS_UNTIL'>, now: number): boolean =>
  now < (oldFormsUntil(OLD_KEYS_UNTIL) ?? 0);

/** The address that the platform saw; what runs on one's own machine has one sender. */
const sender = (c: Context<AppEnv>): string => senderOf(c.req.header('cf-connecting-ip') ?? '');

/** Takes one of the tries that an address has. Throws a 429 Problem where it has none left. */
export function takeTry(c: Context<AppEnv>): void {
  const retryMs = c.var.gate.doubts.take(sender(c), Date.now());
  if (retryMs === null) return;
  const seconds = Math.max(1, Math.ceil(retryMs / 1000));
  throw new Problem({
    status: 429,
    code: 'too_many_failures',
    detail: `Too many requests from this address had no valid key, link or job id; come back in ${seconds} s.`,
    headers: { 'retry-after': String(seconds), 'retry-after-ms': String(Math.ceil(retryMs)) },
  });
}

/** Takes one of the questions that a key may ask in a minute. Throws a 429 Problem where it has none left. */
export function takeRead(c: Context<AppEnv>, kind: ReadKind, key: string): void {
  const refused = c.var.gate.reads.take(kind, key, Date.now());
  if (refused === null) return;
  const seconds = Math.max(1, Math.ceil(refused.retryMs / 1000));
  throw new Problem({
    status: 429,
    code: 'rate_limit',
    detail: `The key may ask for ${refused.limit} ${kind} a minute; come back in ${seconds} s.`,
    headers: { 'retry-after': String(seconds), 'retry-after-ms': String(Math.ceil(refused.retryMs)) },
  });
}

/** The try was good. */
export function giveBackTry(c: Context<AppEnv>): void {
  c.var.gate.doubts.giveBack(sender(c), Date.now());
}

/** Gives every request the isolate's memory. */
export const stepThrough = (gate: Gate) =>
  createMiddleware<AppEnv>(async function stepThrough(c, next) {
    c.set('gate', gate);
    await next();
    // an account that has just refused its key is believed at once
    const caller = c.get('caller');
    if (caller && c.res.status === 401) gate.standings.forget({ account: caller.account, id: caller.keyId });
    // an id of the first form counted as a bad try until something was found under it
    if (c.get('hasOldJobId') && ![401, 404, 429].includes(c.res.status)) giveBackTry(c);
  });
