/** Finished pictures in the bucket. Each call has a limit, so a bucket that hangs holds no job. */
import { imageKey } from '../../src/job/image-key.ts';
import type { JobRecord } from '../../src/job/job.ts';
import { type Buckets, bucketOf } from '../../src/job/job-object.ts';
import { within } from '../../src/stage/time-limit.ts';

/** Longest wait for the bucket: well within the time after which an ended job's strays are looked for. */
const BUCKET_MS = 30_000;

type Named = Pick<JobRecord, 'id' | 'request'>;
const keyOf = ({ id, request }: Named): string => imageKey(id, request.format);

/** Stores a job's picture. Rejects with what the bucket says, or when that takes too long. */
export async function putPicture(buckets: Buckets, job: Named, image: Uint8Array): Promise<void> {
  const httpMetadata = { contentType: `image/${job.request.format}` };
  await within(BUCKET_MS, 'the bucket', bucketOf(buckets, job.id).put(keyOf(job), image, { httpMetadata }));
}

/** Removes a picture that no row points at. A bucket that fails is not waited for: the outbox looks for strays. */
export async function dropPicture(buckets: Buckets, job: Named): Promise<void> {
  await within(BUCKET_MS, 'the bucket', bucketOf(buckets, job.id).delete(keyOf(job))).catch(() => undefined);
}
