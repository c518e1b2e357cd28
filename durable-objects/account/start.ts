/**
 * How the jobs of a request are entered in their account: what came before under the same idempotency key, what limits
 * and money allow, the entries themselves. Each function runs inside a transaction of the account's object. Nothing
 * here awaits.
 */
import {
  admit,
  IDEMPOTENCY_MS,
  type Idempotency,
  isRepetition,
  type KeyRecord,
  rateState,
  type Started,
  type StartRequest,
} from '../../src/account/account.ts';
import * as index from './index-tables.ts';
import * as money from './money.ts';
import type { AccountRecord } from './tables.ts';
import { arrivalsOf, setArrivals, type Tally } from './tally-table.ts';

/** Who starts jobs: a key that opens, of an account. */
export interface Starter {
  readonly account: AccountRecord;
  readonly key: KeyRecord;
}

/** As `attached`: no repetition is let in any more. SQLite keeps it as a number like any other. */
const UNTOLD = Number.POSITIVE_INFINITY;

/** Enters the jobs of one request, all or none, unless limits or an earlier request of the same key say otherwise. */
export function enter(
  sql: SqlStorage,
  tally: Tally,
  { account, key }: Starter,
  { requestId, jobIds, work, price, user, idempotency }: StartRequest,
  now: number,
): Started {
  const again = idempotency && recall(sql, tally, { account, key }, idempotency, now);
  if (again) return again;
  // the same call, come again after a broken stub
  const arrivals = arrivalsOf(tally, key.id);
  if (jobIds.some((id) => index.hasJob(sql, id)))
    return { kind: 'new', jobIds, requestId, enteredAt: now, rate: rateState(account.limits, arrivals.key, now) };
  if (account.suspendedAt !== null) return { kind: 'suspended' };
  // of a request whose jobs came in part, those that did not are entered now, under new ids
  const partly = idempotency && requestInPart(sql, idempotency, now);
  const kept = partly?.jobIds ?? [];
  const entered = jobIds.filter((_, i) => typeof kept[i] !== 'string');
  const count = entered.length;
  const share = count / jobIds.length;
  const admitted = admit(
    {
      limits: account.limits,
      keyTflopsPerMinute: key.tflopsPerMinute,
      arrivals,
      open: tally.open,
      count,
      work: { ...work, flops: work.flops * share },
    },
    now,
  );
  if (admitted.refusal) return admitted.refusal;
  const { terms, limits } = account;
  const payer = price && { terms, limits, key, user, price };
  const outOfMoney = payer && money.refuseToHold(sql, tally, payer, count, now);
  if (outOfMoney) return outOfMoney;
  const hold = payer && money.holdFor(sql, tally, payer, entered, now);
  setArrivals(tally, key.id, admitted.arrivals, now);
  const whole = jobIds.map((id, i) => kept[i] ?? id);
  const request = partly?.requestId ?? requestId;
  for (const id of entered) {
    const job = { id, seq: ++tally.place, requestId: request, idempotency: idempotency?.key ?? null };
    index.insertJob(sql, { ...job, keyId: key.id, createdAt: now }, admitted.costs, hold);
    tally.open++;
  }
  if (idempotency) {
    const { attached } = index.readIdempotency(sql, idempotency.key) ?? { attached: 0 };
    // one that can be told from no other stays so; any other begins anew
    index.writeIdempotency(sql, idempotency.key, {
      digest: idempotency.digest,
      requestId: request,
      jobIds: whole,
      createdAt: partly?.createdAt ?? now,
      attached: attached === UNTOLD ? UNTOLD : 0,
    });
  }
  const { rate } = admitted;
  return partly
    ? { kind: 'again', jobIds: whole, requestId: request, held: money.heldFor(sql, whole), rate }
    : { kind: 'new', jobIds, requestId, enteredAt: now, rate };
}

/**
 * The request that came before under the same key where some of its jobs came and some never did: these are null.
 * Null where there is none such. Without it a repetition would be charged again for those that came.
 */
function requestInPart(
  sql: SqlStorage,
  { key, digest, repetition }: Idempotency,
  now: number,
): { readonly jobIds: readonly (string | null)[]; readonly requestId: string; readonly createdAt: number } | null {
  const earlier = repetition === null ? index.readIdempotency(sql, key) : null;
  if (!earlier || now - earlier.createdAt >= IDEMPOTENCY_MS || earlier.digest !== digest) return null;
  const jobIds = earlier.jobIds.map((id) => (index.hasJob(sql, id) ? id : null));
  return jobIds.some((id) => id !== null) ? { ...earlier, jobIds } : null;
}

/**
 * The request that came before under the same key, and is marked as having come again; null where there is none, or
 * none that counts.
 */
export function recall(
  sql: SqlStorage,
  tally: Tally,
  { account, key }: Starter,
  idempotency: Idempotency,
  now: number,
): Extract<Started, { kind: 'again' | 'conflict' }> | null {
  const earlier = index.readIdempotency(sql, idempotency.key);
  if (!earlier) return null;
  const statuses = earlier.jobIds.map((id) => index.readStatus(sql, id));
  const { repetition } = idempotency;
  if (repetition === 0) {
    // a first try beside another that is under way: from now on nobody can tell whose a repetition is
    if (statuses.includes('open')) index.writeIdempotency(sql, idempotency.key, { ...earlier, attached: UNTOLD });
    else index.deleteIdempotency(sql, idempotency.key);
    return null;
  }
  if (!isRepetition(idempotency, earlier, statuses, now)) return null;
  // what an earlier version remembered by another digest counts by its key alone
  if (earlier.digest !== '' && earlier.digest !== idempotency.digest) return { kind: 'conflict' };
  index.writeIdempotency(sql, idempotency.key, {
    ...earlier,
    attached: repetition ?? Math.max(1, earlier.attached),
    createdAt: repetition === null ? earlier.createdAt : now,
  });
  return {
    kind: 'again',
    jobIds: earlier.jobIds,
    requestId: earlier.requestId,
    held: money.heldFor(sql, earlier.jobIds),
    rate: rateState(account.limits, arrivalsOf(tally, key.id).key, now),
  };
}

/** Whether another request has attached to the jobs started under an idempotency key. */
export function isShared(sql: SqlStorage, idempotencyKey: string): boolean {
  const attached = index.readIdempotency(sql, idempotencyKey)?.attached ?? 0;
  return attached > 0 && attached !== UNTOLD;
}
