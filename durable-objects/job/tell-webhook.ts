/** The caller's own server, told how a request stands: the request of a job with those that the job speaks for. */
import { CREATION_MS } from '../../src/account/account.ts';
import { secretsFrom } from '../../src/account/hmac.ts';
import { webhookSecrets } from '../../src/account/webhook-secret.ts';
import { asOne, jobsOf, type ToldJob } from '../../src/doors/one-request.ts';
import { webhookBody } from '../../src/doors/webhook-body.ts';
import { hasEnded } from '../../src/job/job.ts';
import { jobObject } from '../../src/job/job-object.ts';
import { streamToken, withLinks } from '../../src/job/links.ts';
import type { AccountCalls, JobCalls, JobWithLogs, Objects } from '../../src/job/rpc.ts';
import { within } from '../../src/stage/time-limit.ts';
import { callWebhook } from './call-webhook.ts';
import type { Rows } from './rows.ts';
import { hasRow, readRow } from './tables.ts';
import type { Look, WebhookTeller } from './webhook-parts.ts';

/** Longest wait for the account, or for the other jobs. */
const FAR_SIDE_MS = 10_000;

/** What a deployment gives the job's object for webhooks. */
export interface WebhookEnv {
  readonly ACCOUNTS: Objects<Pick<AccountCalls, 'webhookGenerations'>>;
  readonly JOBS: Objects<Pick<JobCalls, 'viewWithLogs' | 'pictureMade'>>;
  /** secret: what keys, ids, links and webhooks are signed with */
  readonly SIGNING_SECRET: string;
  /** secret: the one before, while it is being replaced; verifies, and signs nothing but webhooks */
  readonly SIGNING_SECRET_PREVIOUS?: string;
  /** DNS over HTTPS, asked where a webhook's name leads; empty on one's own machine: they may go anywhere then */
  readonly WEBHOOK_RESOLVER: string;
}

/** `view` is the job as a webhook tells it; null once it is no longer stored. */
export function makeWebhookTeller({
  env,
  rows,
  view,
}: {
  readonly env: () => WebhookEnv;
  readonly rows: Rows;
  readonly view: () => JobWithLogs | null;
}): WebhookTeller {
  /** What an account's webhooks are signed with now. */
  async function secretsOf(account: string): Promise<readonly string[]> {
    const generations = await env().ACCOUNTS.getByName(account).webhookGenerations();
    return webhookSecrets(secretsFrom(env()), account, generations);
  }

  return {
    async look() {
      const record = readRow(rows);
      const first = view();
      if (!record?.webhook || !first) return null;
      const ids = jobsOf(first.job).slice(1);
      // null: it was erased, or is not there yet
      const others = await within(
        FAR_SIDE_MS,
        'the other jobs',
        Promise.all(ids.map((id) => jobObject(env().JOBS, id).viewWithLogs(null))),
      );
      const jobs = [first, ...others.filter((job) => job !== null)];
      const isComing = jobs.length <= ids.length && Date.now() - record.createdAt < CREATION_MS;
      return {
        record: record as Look['record'],
        jobs,
        isOver: !isComing && jobs.every(({ job }) => hasEnded(job)),
        numPictures: jobs.filter(({ job }) => job.image !== null).length,
        numLines: jobs.reduce((sum, { logs }) => sum + logs.length, 0),
      };
    },

    async call({ record, jobs }, id, signal) {
      const { webhook, account } = record;
      const { origin, door, url, secret: ownSecret } = webhook;
      const { SIGNING_SECRET, WEBHOOK_RESOLVER: resolver } = env();
      const now = Date.now();
      const linked = await Promise.all(
        jobs.map(async ({ job, logs }) => ({ job: await withLinks(SIGNING_SECRET, job, now), logs })),
      );
      const token = await streamToken(SIGNING_SECRET, record.id, now);
      const request = asOne(linked as [ToldJob, ...ToldJob[]]);
      const body = JSON.stringify(webhookBody(door, request, { origin, streamToken: token, now }));
      const secrets = await within(FAR_SIDE_MS, 'the account', secretsOf(account));
      // erased while this was signed: there is nothing to tell any more
      if (!hasRow(rows)) return 'erased';
      return callWebhook({ url, id, body, secrets, ownSecret, resolver, signal });
    },
  };
}
