/** What the rooms of an account's object share. */
import type { Actor, AuditEntry } from '../../src/account/account.ts';
import type { DirectoryCalls, JobCalls, Objects } from '../../src/job/rpc.ts';
import type { AccountRecord } from './tables.ts';

/** What a deployment gives the object: the jobs' objects, and the one that lists the accounts. */
export interface AccountEnv {
  readonly JOBS: Objects<Pick<JobCalls, 'ending' | 'reckoning' | 'cancel' | 'erase'>>;
  readonly DIRECTORY: Objects<DirectoryCalls>;
}

export interface AccountParts {
  readonly env: () => AccountEnv;
  readonly storage: DurableObjectStorage;
  /** The account; null where there is none (yet). */
  readonly account: () => AccountRecord | null;
  /** Writes into the audit trail. */
  readonly note: (actor: Actor, act: AuditEntry['act'], subject: string | null, detail: AuditEntry['detail']) => void;
}
