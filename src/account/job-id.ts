/**
 * Ids of jobs. One says itself that it is ours, so an invented id touches no object:
 *
 *   job_ 2 noan 0123456789abcdef01234567 0123456789abcdef0123
 *        │ │    └ 12 random bytes         └ MAC: 10 bytes over everything before it
 *        │ └ where the job is kept (place.ts)
 *        └ version of the format
 *
 * Version 1 was `job_` and 32 random hex digits.
 */
import { timingSafeEqual } from 'hono/utils/buffer';
import { allOf, hmacHex, type Secrets, toHex } from './hmac.ts';
import { ANYWHERE, type Place, placeCode, placeOf } from './place.ts';

const JOB_ID = /^job_2([a-z]{4})[0-9a-f]{24}[0-9a-f]{20}$/;
const OLD_JOB_ID = /^job_[0-9a-f]{32}$/;
const MAC_DIGITS = 20;

const macOf = async (secret: string, head: string): Promise<string> =>
  (await hmacHex(secret, 'job', head)).slice(0, MAC_DIGITS);

/** A new id, signed with the deployment's current secret. */
export async function newJobId(signingSecret: string, place: Place = ANYWHERE): Promise<string> {
  const head = `job_2${placeCode(place)}${toHex(crypto.getRandomValues(new Uint8Array(12)).buffer)}`;
  return head + (await macOf(signingSecret, head));
}

/**
 * Whether an id is `ours`, or none; `old`: it has the form of version 1, which anybody can invent. Touches nothing.
 */
export async function judgeJobId(secrets: Secrets, id: string): Promise<'ours' | 'old' | 'none'> {
  if (OLD_JOB_ID.test(id)) return 'old';
  const [, code] = JOB_ID.exec(id) ?? [];
  if (!code || !placeOf(code)) return 'none';
  for (const secret of allOf(secrets))
    if (await timingSafeEqual(id.slice(-MAC_DIGITS), await macOf(secret, id.slice(0, -MAC_DIGITS)))) return 'ours';
  return 'none';
}

/** Whether it has the form of version 1. */
export const isOldJobId = (id: string): boolean => OLD_JOB_ID.test(id);

/**
 * Where the job of an id is kept. Whether the id is ours is not asked here: of one that is not, and of one of version
 * 1, it is anywhere.
 */
export const placeOfJob = (id: string): Place => placeOf(JOB_ID.exec(id)?.[1] ?? '') ?? ANYWHERE;
