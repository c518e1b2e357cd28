/** What others may see of a job: its shares, made and ended by its owner, and what each opens. Nothing here awaits. */
import type { JobRecord } from '../../src/job/job.ts';
import type { JobCalls } from '../../src/job/rpc.ts';
import { MAX_SHARES, pictureIn, shareOf, viewShared } from '../../src/job/share.ts';
import { readOfTypes } from './event-tables.ts';
import type { Rows } from './rows.ts';
import { addShare, deleteShare, readShares } from './share-table.ts';
import type { Views } from './views.ts';

type Calls = Pick<JobCalls, 'share' | 'shares' | 'unshare' | 'shared' | 'sharedFormat' | 'sharedPicture'>;

/** The calls of a job's object that are about its shares, answered at once. */
export type Shares = {
  readonly [Name in keyof Calls]: (...args: Parameters<Calls[Name]>) => Awaited<ReturnType<Calls[Name]>>;
};

export function makeShares(rows: Rows, { rowOf, of }: Views): Shares {
  const open = () => readShares(rows.sql, Date.now());

  /** The job, where this share of it opens. */
  function rowOfShare(id: string): JobRecord | null {
    const row = rowOf(null);
    return row && open().some((share) => share.id === id) ? row : null;
  }

  const shares: Shares['shares'] = (owner) => rowOf(owner) && open();

  return {
    shares,
    share(owner, { id, ms }) {
      const row = rowOf(owner);
      if (!row) return { kind: 'no_job' };
      if (!row.image || row.expiresAt === null) return { kind: 'no_image', status: of(row).status };
      const now = Date.now();
      const before = readShares(rows.sql, now);
      const known = before.find((share) => share.id === id);
      if (known) return { kind: 'shared', share: known };
      if (before.length >= MAX_SHARES) return { kind: 'too_many' };
      const share = shareOf({ id, ms }, row.expiresAt, now);
      rows.transact(() => addShare(rows.sql, share));
      return { kind: 'shared', share };
    },
    unshare(owner, id) {
      if (!shares(owner)?.some((share) => share.id === id)) return false;
      rows.transact(() => deleteShare(rows.sql, id));
      return true;
    },
    shared(id) {
      const row = rowOfShare(id);
      return row && viewShared(row, readOfTypes(rows, ['preview', 'selection']));
    },
    sharedFormat: (id) => rowOfShare(id)?.image?.format ?? null,
    sharedPicture(id, name) {
      if (!rowOfShare(id)) return null;
      return pictureIn(readOfTypes(rows, [typeof name === 'number' ? 'preview' : 'selection']), name);
    },
  };
}
