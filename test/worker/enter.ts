/** Entering a job in its account, as a start does it, for tests that make the job's object themselves. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import type { AccountObject } from '../../durable-objects/account.ts';

/** The account knows the job, and nothing is held for it. */
export const enterJob = (account: string, id: string): Promise<void> =>
  runInDurableObject(env.ACCOUNTS.getByName(account) as DurableObjectStub<AccountObject>, (instance) => {
    const [key] = instance.keys();
    if (!key) throw new Error(`account ${account} has no key`);
    const work = { flops: 0, plainFlops: 1, steps: 1 };
    const started = instance.start(key.id, {
      requestId: id,
      jobIds: [id],
      work,
      price: null,
      user: null,
      idempotency: null,
    });
    if (started.kind !== 'new') throw new Error(`job not entered: ${started.kind}`);
  });

/** Lists an open job of which there is nothing else, as the account itself would. */
export function listJob(sql: SqlStorage, id: string, { isCreated }: { readonly isCreated: boolean }): void {
  sql.exec('UPDATE tally SET place = place + 1, open = open + 1');
  sql.exec(
    `INSERT INTO job (id, seq, request_id, key_id, created_at, status, is_created)
     VALUES (?, (SELECT place FROM tally), 'r', 'k', ?, 'open', ?)`,
    id,
    Date.now(),
    isCreated ? 1 : 0,
  );
}
