/** The one way to a job's object, and to the bucket of its picture: the id says where both are kept. */
import { placeOfJob } from '../account/job-id.ts';
import type { Jurisdiction } from '../account/place.ts';
import type { LocationHint } from '../fleet/regions.ts';
import type { Objects, Remote } from './rpc.ts';

/**
 * The object of a job, in the jurisdiction that its id names. `hint` is where it is best made: it counts for the first
 * who asks for the object, and not for anybody after. Throws an Error where the platform knows no such jurisdiction.
 */
export function jobObject<Calls>(objects: Objects<Calls>, id: string, hint: LocationHint | null = null): Remote<Calls> {
  const { jurisdiction } = placeOfJob(id);
  const there = jurisdiction === null ? objects : objects.jurisdiction?.(jurisdiction);
  if (!there) throw new Error(`there are no objects in the jurisdiction ${jurisdiction}`);
  return hint === null ? there.getByName(id) : there.getByName(id, { locationHint: hint });
}

/** The buckets of a deployment; one of a jurisdiction is there where a deployment has such accounts. */
export interface Buckets {
  readonly IMAGES: R2Bucket;
  readonly IMAGES_EU?: R2Bucket;
  readonly IMAGES_US?: R2Bucket;
  readonly IMAGES_FEDRAMP?: R2Bucket;
}

/** The binding of the bucket for pictures of a jurisdiction. */
export function bucketName(jurisdiction: Jurisdiction | null): keyof Buckets {
  switch (jurisdiction) {
    case null:
      return 'IMAGES';
    case 'eu':
      return 'IMAGES_EU';
    case 'us':
      return 'IMAGES_US';
    case 'fedramp':
      return 'IMAGES_FEDRAMP';
  }
}

/** The bucket of a job's picture. Throws an Error that names the binding where there is none. */
export function bucketOf(buckets: Buckets, id: string): R2Bucket {
  const name = bucketName(placeOfJob(id).jurisdiction);
  const bucket = buckets[name];
  if (!bucket) throw new Error(`this deployment has no bucket ${name}`);
  return bucket;
}
