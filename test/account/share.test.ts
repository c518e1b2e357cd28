import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Secrets } from '../../src/account/hmac.ts';
import { newJobId } from '../../src/account/job-id.ts';
import { signLink } from '../../src/account/link.ts';
import { isShareId, newShareId, readShareToken, shareToken } from '../../src/account/share.ts';

const SECRET = 'a secret of thirty-two bytes or more';
const SECRETS: Secrets = { current: SECRET, previous: null };
const JOB = await newJobId(SECRET);
const SHARE = newShareId();
const TOKEN = await shareToken(SECRET, JOB, SHARE);

test('a token is read as the job and the share that it was made of, also after the secret was replaced', async () => {
  expect(isShareId(SHARE)).toBe(true);
  expect(await readShareToken(SECRETS, TOKEN)).toEqual({ job: JOB, share: SHARE });
  expect(await readShareToken({ current: 'another', previous: SECRET }, TOKEN)).toEqual({ job: JOB, share: SHARE });
  expect(await readShareToken({ current: 'another', previous: null }, TOKEN)).toBeNull();
});

test('no character of a token can be another', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(TOKEN.length - 1), fc.constantFrom(...'0123456789abcdefz.'), async (at, other) => {
      fc.pre(TOKEN[at] !== other);
      expect(await readShareToken(SECRETS, TOKEN.slice(0, at) + other + TOKEN.slice(at + 1))).toBeNull();
    }),
  );
});

test('a signature of another job, of another share or for something else is none', async () => {
  const [job, share, mac] = TOKEN.split('.') as [string, string, string];
  const other = (await newJobId(SECRET)).slice('job_'.length);
  const link = (await signLink(SECRET, JOB, 'image', 1_795_000_000)).split('.')[1] as string;
  for (const forged of [
    `${other}.${share}.${mac}`,
    `${job}.${newShareId()}.${mac}`,
    `${job}.${share}.${link.slice(0, 32)}`,
    `${job}.${share}`,
    `${job}.${share}.${mac}.`,
    '',
  ])
    expect(await readShareToken(SECRETS, forged), forged).toBeNull();
});
