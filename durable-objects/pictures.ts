/** Finished pictures in the bucket. Each call has a limit, so a bucket that hangs holds no job. */
import { imageKey } from '../src/job/image-key.ts';
import type { JobRecord } from '../src/job/job.ts';
import { within } from '../src/stage/time-limit.ts';

/** Longest wait for the bucket: well within the time after which an ended job's strays are looked for. */
const BUCKET_MS = 30_000;

type Named = Pick<JobRecord, 'id' | 'request'>;
const keyOf = ({ id, request }: Named): string => imageKey(id, request.format);

/** Stores a job's picture. Rejects with what the bucket says, or when that takes too long. */
export async function putPicture(bucket: R2Bucket, job: Named, image: Uint8Array): Promise<void> {
  const httpMetadata = { contentType: `image/${job.request.format}` };
  await within(BUCKET_MS, 'the bucket', bucket.put(keyOf(job), image, { httpMetadata }));
}

/** Removes a picture that no row points at. A bucket that fails is not waited for: the outbox looks for strays. */
export async function dropPicture(bucket: R2Bucket, job: Named): Promise<void> {
  await within(BUCKET_MS, 'the bucket', bucket.delete(keyOf(job))).catch(() => undefined);
}
