import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import type { Secrets } from '../../src/account/hmac.ts';
import { newJobId } from '../../src/account/job-id.ts';
import { checkLink, signLink } from '../../src/account/link.ts';

const SECRET = 'a secret of thirty-two bytes or more';
const SECRETS: Secrets = { current: SECRET, previous: null };
const JOB = await newJobId(SECRET);
const NOW = 1_795_000_000_000;
const UNTIL = NOW / 1000 + 60;

test('a link opens one thing of one job until its time', async () => {
  const token = await signLink(SECRET, JOB, 'image', UNTIL);
  const at = (now: number, job = JOB, opens: 'image' | 'events' = 'image', secrets = SECRETS, text = token) =>
    checkLink(secrets, job, opens, text, now);
  expect(await at(NOW)).toBe('valid');
  expect(await at(UNTIL * 1000 - 1)).toBe('valid');
  expect(await at(UNTIL * 1000)).toBe('expired');
  expect(await at(NOW, JOB, 'events')).toBe('invalid');
  expect(await at(NOW, await newJobId(SECRET))).toBe('invalid');
  expect(await at(NOW, JOB, 'image', { current: 'another', previous: null })).toBe('invalid');
  expect(await at(NOW, JOB, 'image', { current: 'another', previous: SECRET })).toBe('valid');
  expect(await at(NOW, JOB, 'image', SECRETS, token.replace(/^\d+/, String(UNTIL + 1)))).toBe('invalid');
  expect(await at(NOW, JOB, 'image', SECRETS, 'nonsense')).toBe('invalid');
});

test('a link that was out before links had a key of their own opens its job, whose id has the first form, and no other', async () => {
  const old = `job_${'0'.repeat(32)}`;
  const signOld = (job: string) =>
    `${UNTIL}.${createHmac('sha256', SECRET).update(`link:image\0${job}\0${UNTIL}`).digest('hex')}`;
  expect(await checkLink(SECRETS, old, 'image', signOld(old), NOW)).toBe('valid');
  expect(await checkLink(SECRETS, old, 'events', signOld(old), NOW)).toBe('invalid');
  expect(await checkLink(SECRETS, JOB, 'image', signOld(JOB), NOW)).toBe('invalid');
});
