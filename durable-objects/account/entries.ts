/**
 * The jobs of an account, as it knows them: entered before they are created, confirmed when they begin, ended when they
 * say so, let go when they never came. Whatever is told twice changes nothing the second time.
 */
import {
  type Confirmed,
  CREATION_MS,
  type EndTaken,
  type Idempotency,
  type JobEnd,
  refunded,
  type Started,
  type StartRequest,
  withExcess,
} from '../../src/account/account.ts';
import { placeOfJob } from '../../src/account/job-id.ts';
import { refuseKey } from '../../src/account/standing.ts';
import { jobObject } from '../../src/job/job-object.ts';
import { logLine } from '../../src/job/log.ts';
import { within } from '../../src/stage/time-limit.ts';
import * as index from './index-tables.ts';
import * as keys from './key-tables.ts';
import { noteUse } from './keys.ts';
import * as money from './money.ts';
import type { AccountParts } from './parts.ts';
import { enter, recall } from './start.ts';
import { addWork, arrivalsOf, readTally, setArrivals, withTally } from './tally-table.ts';

/** Longest wait for a job's object. */
const JOB_MS = 10_000;

export interface Entries {
  /**
   * Enters the jobs of one request, all or none, unless limits or an earlier request of the same idempotency key say
   * otherwise. Whether the key still opens, and whether the account takes work, is decided here.
   */
  start(keyId: string, request: StartRequest): Started;
  /**
   * The request that came before under the same key, and is marked as having come again; null where there is none, or
   * none that counts.
   */
  recall(keyId: string, idempotency: Idempotency): Extract<Started, { kind: 'again' | 'conflict' }> | null;
  /**
   * Jobs that will not be created: their entries go, and with `refund` what they took from the key's rate comes back.
   * One whose object is there, or cannot be asked, stays. Told again it changes nothing.
   */
  withdraw(ids: readonly string[], refund: boolean): Promise<void>;
  /**
   * Whether a job may begin. One that was let go before its object came never may, whenever it asks. It is there since
   * before it asked, so an incarnation that has forgotten this finds it by asking.
   */
  confirm(id: string): Confirmed;
  /**
   * A job has ended: it is charged, and what its failure cost beyond its work is taken from the budgets. Told by its
   * object, at least once; told again it changes nothing and answers alike.
   */
  ended(id: string, end: JobEnd): EndTaken;
  /** A job is no longer stored: nor is what is remembered of its request. */
  erased(id: string): void;
  /** Lets entries go whose jobs are not there, unless one has come meanwhile. */
  letGo(ids: readonly string[], refund: boolean): void;
  /** The object of a job that was there is not there any more: its entry goes, and what is still held for it. */
  lost(id: string): void;
  /** Whether it is known of an open job that its object was there, or that it is not: then the job is let go. */
  isKnown(job: index.OpenJob): Promise<boolean>;
}

export function makeEntries({ env, storage, account }: AccountParts): Entries {
  const { sql } = storage;
  /** open jobs that this incarnation has told they may begin: their objects are there */
  const confirmed = new Set<string>();
  /** entries whose request came again, and when: their jobs are being created anew */
  const comeAgain = new Map<string, number>();

  const endingOf = (id: string) => within(JOB_MS, 'the job', jobObject(env().JOBS, id).ending());

  /** Whether the object of a job is not there. False where it cannot be asked: the alarm asks again. */
  async function isAbsent(id: string): Promise<boolean> {
    try {
      return (await endingOf(id)) === null;
    } catch (error) {
      logLine('job_not_reached', { job_id: id, error: String(error) });
      return false;
    }
  }

  function letGo(ids: readonly string[], refund: boolean): void {
    const limits = account()?.limits;
    const gone = ids.filter((id) => !confirmed.has(id));
    if (!limits || gone.length === 0) return;
    const now = Date.now();
    storage.transactionSync(() =>
      withTally(sql, (tally) => {
        for (const id of gone) {
          const job = index.readUncreated(sql, id);
          if (!job) continue;
          money.letGo(sql, tally, id, now);
          index.unlistJob(sql, id);
          tally.open--;
          if (refund && keys.readKey(sql, job.keyId))
            setArrivals(tally, job.keyId, refunded(limits, arrivalsOf(tally, job.keyId), job.costs), now);
        }
      }),
    );
  }

  function erased(id: string): void {
    if (!account()) return;
    storage.transactionSync(() => {
      index.deleteIdempotencyOf(sql, id);
      if (index.readStatus(sql, id) === 'open')
        withTally(sql, (tally) => {
          tally.open--;
        });
      index.unlistJob(sql, id);
    });
    confirmed.delete(id);
  }

  return {
    letGo,
    erased,
    start(keyId, request) {
      const now = Date.now();
      const starter = account();
      const key = starter && keys.readKey(sql, keyId);
      const { keyHashes } = request;
      const refused = refuseKey(key, { hashes: keyHashes ?? (key ? [key.hash] : []) }, now);
      if (!starter || !key || refused !== null) return { kind: 'key_out', refusal: refused ?? 'unknown' };
      if (request.jobIds.some((id) => placeOfJob(id).jurisdiction !== starter.jurisdiction))
        throw new Error('jobs of another jurisdiction than their account');
      if (!key.scopes.includes('generate')) return { kind: 'key_lacks', scope: 'generate' };
      noteUse(sql, keyId, now);
      const started = storage.transactionSync(() =>
        withTally(sql, (tally) => enter(sql, tally, { account: starter, key }, request, now)),
      );
      if (started.kind === 'again')
        for (const id of started.jobIds) if (index.readUncreated(sql, id) !== null) comeAgain.set(id, now);
      return started;
    },
    recall(keyId, idempotency) {
      const starter = account();
      const key = starter && keys.readKey(sql, keyId);
      const now = Date.now();
      // a key that is out changes nothing, not even what is remembered of a request
      if (!starter || !key || refuseKey(key, { hashes: [key.hash] }, now) !== null) return null;
      return storage.transactionSync(() => recall(sql, readTally(sql), { account: starter, key }, idempotency, now));
    },
    async withdraw(ids, refund) {
      if (!account()) return;
      const asked = ids.filter((id) => !confirmed.has(id) && index.readUncreated(sql, id) !== null);
      const absent = await Promise.all(asked.map(isAbsent));
      letGo(
        asked.filter((_, i) => absent[i]),
        refund,
      );
    },
    confirm(id) {
      if (!account() || index.readStatus(sql, id) !== 'open') return 'gone';
      confirmed.add(id);
      return 'held';
    },
    ended(id, { status, work, charge, excess }) {
      const limits = account()?.limits;
      if (!limits) return null;
      const now = Date.now();
      const taken = storage.transactionSync(() =>
        withTally(sql, (tally): EndTaken => {
          const before = index.readStatus(sql, id);
          const keyId = index.readKeyOfJob(sql, id);
          const isListed = keyId !== null || money.isHeld(sql, id);
          if (before === 'open') {
            tally.open--;
            if (work) addWork(tally, work);
            const key = keyId === null ? null : keys.readKey(sql, keyId);
            if (key && excess) {
              const spent = withExcess(limits, arrivalsOf(tally, key.id), { key, excess }, now);
              setArrivals(tally, key.id, spent, now);
            }
          }
          const end = { status: before === 'open' ? status : null, charge };
          const settled = money.settle(sql, tally, id, end, now);
          return isListed ? settled : 'unlisted';
        }),
      );
      confirmed.delete(id);
      return taken;
    },
    lost(id) {
      storage.transactionSync(() => {
        withTally(sql, (tally) => {
          if (index.readStatus(sql, id) === 'open') money.letGo(sql, tally, id, Date.now());
        });
        erased(id);
      });
    },
    async isKnown({ id, isCreated }) {
      const since = Date.now() - (comeAgain.get(id) ?? 0);
      const isAwaited = since >= 0 && since < CREATION_MS;
      if (!isAwaited) comeAgain.delete(id);
      if (isCreated || confirmed.has(id)) return true;
      // let go now, it would be created by the request that came again, and never begin
      if (isAwaited) return false;
      try {
        if (await endingOf(id)) index.markCreated(sql, id);
        else {
          // its Worker is gone, and did not withdraw it
          letGo([id], true);
          logLine('job_never_came', { job_id: id });
        }
        return true;
      } catch (error) {
        // asked again by the next alarm; the others are not kept waiting
        logLine('job_not_reached', { job_id: id, error: String(error) });
        return false;
      }
    },
  };
}
