/** The bucket of a local deployment as its files have it. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

const OBJECTS = 'state/r2/miniflare-R2BucketObject';

/** Ids of the jobs of which a picture is stored. The deployment must not run. */
export function jobsWithPictures(folder: string): string[] {
  const place = join(folder, OBJECTS);
  if (!existsSync(place)) return [];
  return readdirSync(place).flatMap((name) => {
    if (!name.endsWith('.sqlite') || name === 'metadata.sqlite') return [];
    const db = new DatabaseSync(join(place, name));
    try {
      const keys = db.prepare('SELECT key FROM _mf_objects').all() as { key: string }[];
      return keys.flatMap(({ key }) => /^jobs\/([^/]+)\/image\./.exec(key)?.[1] ?? []);
    } finally {
      db.close();
    }
  });
}
