import { expect, test } from 'vitest';
import { isOldJobId, judgeJobId, newJobId, placeOfJob } from '../../src/account/job-id.ts';
import { ANYWHERE, JURISDICTIONS, placeIn } from '../../src/account/place.ts';

const SECRET = 'a secret of thirty-two bytes or more';
const SECRETS = { current: SECRET, previous: null };

test('an id that was made here is ours, carries version and place, and no other is like it', async () => {
  const ids = await Promise.all(Array.from({ length: 100 }, () => newJobId(SECRET)));
  for (const id of ids) {
    expect(id).toMatch(/^job_2noan[0-9a-f]{44}$/);
    expect(await judgeJobId(SECRETS, id)).toBe('ours');
    expect(isOldJobId(id)).toBe(false);
  }
  expect(new Set(ids).size).toBe(100);
});

test('no digit of an id can be another', async () => {
  const id = await newJobId(SECRET);
  for (let i = 0; i < id.length; i++) {
    const other = id[i] === 'b' ? 'c' : 'b';
    expect(await judgeJobId(SECRETS, id.slice(0, i) + other + id.slice(i + 1)), `digit ${i}`).toBe('none');
  }
});

test('of 300 invented ids of the right form none is ours', async () => {
  for (let i = 0; i < 300; i++) {
    const random = Buffer.from(crypto.getRandomValues(new Uint8Array(22))).toString('hex');
    expect(await judgeJobId(SECRETS, `job_2noan${random}`)).toBe('none');
  }
});

test('ids outlive a new secret as long as the old one is there', async () => {
  const id = await newJobId(SECRET);
  const current = 'another secret of thirty-two bytes or more';
  expect(await judgeJobId({ current, previous: SECRET }, id)).toBe('ours');
  expect(await judgeJobId({ current, previous: null }, id)).toBe('none');
});

test('an id of the first form is told apart; anything else is none', async () => {
  expect(await judgeJobId(SECRETS, `job_${'0'.repeat(32)}`)).toBe('old');
  for (const text of [
    '',
    'job_',
    'job_1',
    `job_${'0'.repeat(31)}`,
    `JOB_${'0'.repeat(32)}`,
    `job_2noan${'0'.repeat(43)}`,
  ])
    expect(await judgeJobId(SECRETS, text)).toBe('none');
});

test('an id says where its job is kept, under the MAC; what is no id, or of version 1, is anywhere', async () => {
  for (const jurisdiction of [null, ...JURISDICTIONS]) {
    const id = await newJobId(SECRET, placeIn(jurisdiction));
    expect(placeOfJob(id)).toEqual({ jurisdiction, region: 'any' });
    expect(await judgeJobId(SECRETS, id)).toBe('ours');
    const elsewhere = id.replace(/^job_2../, jurisdiction === 'eu' ? 'job_2no' : 'job_2eu');
    expect(await judgeJobId(SECRETS, elsewhere)).toBe('none');
  }
  for (const text of ['', 'accounts', `job_${'0'.repeat(32)}`]) expect(placeOfJob(text)).toBe(ANYWHERE);
});
