/**
 * The module that does what money adds to a request, inside workerd: a request a step, so that the caller's clock times
 * it. Objects, keys and ledger are those of the product.
 */
import { DEFAULT_LIMITS, PREPAID } from '../../src/account/account.ts';
import { secretsFrom } from '../../src/account/hmac.ts';
import { newJobId } from '../../src/account/job-id.ts';
import { makeKey, newAccountId, readKey } from '../../src/account/key.ts';
import { refuseKey } from '../../src/account/standing.ts';
import type { AccountCalls, Objects } from '../../src/job/rpc.ts';

import type { Ask } from './money-ask.ts';

export { AccountObject } from '../../durable-objects/account.ts';
export { DirectoryObject } from '../../durable-objects/directory.ts';

interface Env {
  readonly ACCOUNTS: Objects<AccountCalls>;
  readonly SIGNING_SECRET: string;
}

const QUOTED = 1000;

async function answer(
  env: Env,
  { step, account = '', key = '', keyId = '', job = '', jobs = 0 }: Ask,
): Promise<object> {
  const stub = env.ACCOUNTS.getByName(account || 'none');
  switch (step) {
    case 'nothing':
      return {};
    case 'open': {
      const id = newAccountId();
      const made = await makeKey(secretsFrom(env), id);
      const kept = { id: made.id, name: 'bench', hash: made.hash, scopes: ['generate'] as const, expiresAt: null };
      const free = { tflopsPerMinute: null, microUsdPerDay: null, microUsdPerMonth: null };
      const limits = { ...DEFAULT_LIMITS, imagesPerMinute: 10_000_000, concurrentJobs: 10_000 };
      const own = env.ACCOUNTS.getByName(id);
      await own.open({ id, name: 'bench', limits, terms: PREPAID, key: { ...kept, ...free } });
      await own.post({ id: 'credit', kind: 'top_up', amount: 1e9, job: null, reason: null }, 'admin');
      return { account: id, key: made.text, keyId: made.id };
    }
    case 'authenticate': {
      const read = await readKey(secretsFrom(env), key);
      const standing = read && (await stub.standing(read.id));
      if (!read || refuseKey(standing, read, Date.now()) !== null) throw new Error('the key does not open');
      return {};
    }
    case 'hold':
      return { job: await hold(env, stub, keyId) };
    case 'settle':
      await settle(stub, job);
      return {};
    case 'crowd':
      await Promise.all(
        Array.from({ length: jobs }, async () => {
          const id = await hold(env, stub, keyId);
          await settle(stub, id);
          await stub.erased(id);
        }),
      );
      return {};
  }
}

type Account = ReturnType<Env['ACCOUNTS']['getByName']>;

/** A job that is held for and may begin; its id. */
async function hold(env: Env, account: Account, keyId: string): Promise<string> {
  const id = await newJobId(env.SIGNING_SECRET);
  const started = await account.start(keyId, {
    requestId: id,
    jobIds: [id],
    work: { flops: 1e9, plainFlops: 1e12, steps: 10 },
    price: { model: 'bench', tariff: 'bench', quoted: QUOTED },
    user: null,
    idempotency: null,
  });
  if (started.kind !== 'new' || (await account.confirm(id)) !== 'held') throw new Error('nothing was held');
  return id;
}

async function settle(account: Account, job: string): Promise<void> {
  const charge = { micro: QUOTED - 1, mflop: 1000 };
  const settled = await account.ended(job, { status: 'done', work: null, charge, excess: null });
  if (settled === null || settled === 'unlisted' || settled.captured !== QUOTED - 1)
    throw new Error('nothing was charged');
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    return Response.json(await answer(env, await request.json<Ask>()));
  },
} satisfies ExportedHandler<Env>;
