/** The bucket of a local deployment as its files have it. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

const OBJECTS = 'state/r2/miniflare-R2BucketObject';

/** A thing in the bucket, and the job whose picture it is; null: it is none. */
export interface Stored {
  readonly key: string;
  readonly job: string | null;
}

/** Everything in the bucket. The deployment must not run. */
export function storedIn(folder: string): Stored[] {
  const place = join(folder, OBJECTS);
  if (!existsSync(place)) return [];
  return readdirSync(place).flatMap((name) => {
    if (!name.endsWith('.sqlite') || name === 'metadata.sqlite') return [];
    const db = new DatabaseSync(join(place, name));
    try {
      const keys = db.prepare('SELECT key FROM _mf_objects').all() as { key: string }[];
      return keys.map(({ key }) => ({ key, job: /^jobs\/([^/]+)\/image\./.exec(key)?.[1] ?? null }));
    } finally {
      db.close();
    }
  });
}
