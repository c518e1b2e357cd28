/**
 * What an ended job still has to tell others, delivered: each letter at least once, each with a time of its own, every
 * far side with a limit. Where the last letter of a job that is no longer stored is gone, nothing is left.
 */
import { secretsFrom } from '../src/account/hmac.ts';
import { webhookSecrets } from '../src/account/webhook-secret.ts';
import { webhookBody } from '../src/doors/webhook-body.ts';
import type { JobRecord } from '../src/job/job.ts';
import { streamToken, withLinks } from '../src/job/links.ts';
import { logLine } from '../src/job/log.ts';
import { pauseAfter } from '../src/job/outbox.ts';
import type { AccountCalls, JobWithLogs, Objects } from '../src/job/rpc.ts';
import { afterTry } from '../src/job/webhook.ts';
import type { StageServer } from '../src/stage/client.ts';
import { within } from '../src/stage/time-limit.ts';
import { callWebhook } from './call-webhook.ts';
import { hasRow, readRow, updateRow } from './job-tables.ts';
import { hasTables } from './migrate.ts';
import {
  dueLetters,
  nextLetterAt,
  postponeLetter,
  removeLetter,
  removeUnreadableLetters,
  type StoredLetter,
} from './outbox-tables.ts';

/** What a deployment gives the job's object for those it tells. */
export interface OutboxEnv {
  readonly IMAGES: R2Bucket;
  readonly ACCOUNTS: Objects<AccountCalls>;
  /** secret: what keys, ids, links and webhooks are signed with */
  readonly SIGNING_SECRET: string;
  /** secret: the one before, while it is being replaced; verifies, and signs nothing but webhooks */
  readonly SIGNING_SECRET_PREVIOUS?: string;
  /** DNS over HTTPS, asked where a webhook's name leads; empty on one's own machine: webhooks may go anywhere then */
  readonly WEBHOOK_RESOLVER: string;
}

/** What the outbox needs of its job. */
export interface Sender {
  readonly env: () => OutboxEnv;
  readonly storage: DurableObjectStorage;
  /** id of the job, for the log */
  readonly job: string;
  /** the job as a webhook tells it; null once it is no longer stored */
  readonly view: () => JobWithLogs | null;
  /** a stage server by the id of its backend; null where none is configured under it */
  readonly server: (backend: string) => StageServer | null;
  /** every stage server that is configured */
  readonly everyServer: () => readonly StageServer[];
  /** the job's time is over */
  readonly expire: () => void;
}

export interface Outbox {
  /** Delivers what may go out now, then sets the alarm for the next letter. A second call joins the first. */
  deliver(): Promise<void>;
  /** Ends a call of the caller's own server: nobody waits for it when the job is erased. */
  dropWebhook(): void;
}

/** Longest wait for an account or the bucket. */
const FAR_SIDE_MS = 10_000;
const FAULT_PAUSE_MS = 60_000;

/** When to try again; null: the letter is done with. */
type Outcome = { readonly pauseMs: number } | null;

export function makeOutbox({ env, storage, job: jobId, view, server, everyServer, expire }: Sender): Outbox {
  const { sql } = storage;
  let delivering: Promise<void> | null = null;
  let webhookCall: AbortController | null = null;

  async function deliverAll(): Promise<void> {
    // the alarm that comes after the last letter finds nothing any more
    if (!hasTables(sql)) return;
    for (const kind of removeUnreadableLetters(sql))
      logLine('alert', { job_id: jobId, what: 'unreadable', part: `outbox, ${kind}` });
    for (let due = dueLetters(sql, Date.now()); due.length > 0; due = dueLetters(sql, Date.now())) {
      await Promise.all(due.map(deliverOne));
    }
    const next = nextLetterAt(sql, Date.now());
    if (next !== null) await storage.setAlarm(next);
    else if (!hasRow(sql)) await storage.deleteAll();
  }

  async function deliverOne(letter: StoredLetter): Promise<void> {
    const outcome = await send(letter).catch((error): Outcome => {
      // a fault of ours: it must not keep the other letters, or be met again at once
      logLine('letter_threw', { job_id: jobId, kind: letter.kind, error: String(error) });
      return { pauseMs: FAULT_PAUSE_MS };
    });
    if (outcome === null) removeLetter(sql, letter.seq);
    else postponeLetter(sql, letter.seq, Date.now() + outcome.pauseMs);
  }

  async function send(letter: StoredLetter): Promise<Outcome> {
    switch (letter.kind) {
      case 'ended': {
        const { account, job, status, work, charge = null, excess = null } = letter.payload;
        return attempt(letter, () => env().ACCOUNTS.getByName(account).ended(job, { status, work, charge, excess }));
      }
      case 'erased': {
        const { account, job } = letter.payload;
        return attempt(letter, () => env().ACCOUNTS.getByName(account).erased(job));
      }
      case 'picture':
        return attempt(letter, () => env().IMAGES.delete(letter.payload.key));
      case 'forget':
        return attempt(letter, async () => {
          const { backend, stageId, worker } = letter.payload;
          const known = server(backend);
          // a backend of another name now is still there under that: all are asked; who does not know the id says so
          const told = known ? [known.cancel(stageId, worker)] : everyServer().map((each) => each.cancel(stageId));
          if ((await Promise.all(told)).includes(false)) throw new Error(`${backend} was not reached`);
        });
      case 'webhook':
        return sendWebhook();
      case 'expire':
        expire();
        return null;
    }
  }

  /** One try at a far side; what it fails with is logged, and tried again later. */
  async function attempt(
    letter: Extract<StoredLetter, { kind: 'ended' | 'erased' | 'picture' | 'forget' }>,
    work: () => Promise<unknown>,
  ): Promise<Outcome> {
    try {
      await within(FAR_SIDE_MS, letter.kind, work());
      return null;
    } catch (error) {
      logLine('letter_not_taken', { job_id: jobId, kind: letter.kind, tries: letter.tries + 1, error: String(error) });
      const pauseMs = pauseAfter(letter.kind, letter.tries + 1);
      return pauseMs === null ? null : { pauseMs };
    }
  }

  /** What an account's webhooks are signed with now. */
  async function secretsOf(account: string): Promise<readonly string[]> {
    const generations = await env().ACCOUNTS.getByName(account).webhookGenerations();
    return webhookSecrets(secretsFrom(env()), account, generations);
  }

  /** One call of the caller's own server; what came of it is stored with the job. */
  async function sendWebhook(): Promise<Outcome> {
    const row = readRow(sql);
    const told = view();
    if (!row?.webhook || !told) return null;
    const { webhook, account, id } = row as JobRecord & { webhook: NonNullable<JobRecord['webhook']> };
    const now = Date.now();
    const job = await withLinks(env().SIGNING_SECRET, told.job, now);
    const token = await streamToken(env().SIGNING_SECRET, id, now);
    const { origin, door, url } = webhook;
    const body = JSON.stringify(webhookBody(door, job, told.logs, { origin, streamToken: token, now }));
    const secrets = await within(FAR_SIDE_MS, 'the account', secretsOf(account));
    // erased while this was signed: there is nothing to tell any more
    if (!hasRow(sql)) return null;
    webhookCall = new AbortController();
    const { signal } = webhookCall;
    const status = await callWebhook({ url, id, body, secrets, resolver: env().WEBHOOK_RESOLVER, signal });
    webhookCall = null;
    if (!hasRow(sql)) return null;
    const after = afterTry(webhook, status);
    logLine('webhook_called', { job_id: id, try: after.webhook.tries, status, state: after.webhook.state });
    updateRow(sql, { webhook: after.webhook });
    return after.pauseMs === null ? null : { pauseMs: after.pauseMs };
  }

  return {
    deliver() {
      delivering ??= deliverAll().finally(() => {
        delivering = null;
      });
      return delivering;
    },
    dropWebhook: () => webhookCall?.abort(),
  };
}
