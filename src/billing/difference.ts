/** What a reconciliation finds: where ledger, jobs and outbox of an account do not agree. Pure. */

/** What each kind of difference says. */
export const DIFFERENCES = {
  columns: 'a column of the ledger is not the sum of its entries',
  unbalanced: 'debits and credits of the ledger are not equal',
  hold_without_charge: 'a hold has no row of what its job was charged',
  charge_without_hold: 'what a job was charged has no hold of that amount in the ledger',
  charge_without_end: 'what a job was charged is not what the entry that resolved its hold says',
  end_without_hold: 'a capture or release resolves no hold',
  captured_above_hold: 'more was captured than was held',
  refunded: 'what a job was given back is not the sum of its refunds',
  usage: 'usage by day, key or model does not add up to what the jobs were charged',
  hold_without_job: 'a hold is open, and the account has no open job of that id',
  job_without_hold: 'an open job has a price, and nothing is held for it',
  ended_with_open_hold: 'a job has ended, and its hold is open',
  charge_is_not_receipt: 'what a job was charged is not what its receipt says',
  job_missing: 'the account has a job, and there is none of that id',
  not_reached: 'a job did not answer, so nothing is known of it',
  waits_for_meter: 'the meter outside has not taken what a job was charged',
} as const satisfies Readonly<Record<string, string>>;
export type DifferenceKind = keyof typeof DIFFERENCES;

export interface Difference {
  readonly kind: DifferenceKind;
  /** the job, the entry or the account of the ledger that it is about */
  readonly subject: string;
  readonly expected: string;
  readonly found: string;
}

/** Most differences of one kind that one page names. */
export const MAX_OF_KIND = 100;

export interface Reconciled {
  readonly differences: readonly Difference[];
  /** kinds of which there are more than are named */
  readonly more: readonly DifferenceKind[];
  /** jobs that were looked at */
  readonly jobs: number;
  /** place of the job after which to go on; null: all were looked at */
  readonly next: number | null;
}
