import { expect, test } from 'vitest';
import { readLimits, readTtl } from '../../durable-objects/limits.ts';

const VARIABLES = {
  JOB_TTL_HOURS: '24',
  STAGE_TIMEOUT_SECONDS: '600',
  STAGE_SILENCE_SECONDS: '60',
  STAGE_ATTEMPTS: '6',
  QUEUE_SECONDS: '900',
};

test('limits are read in milliseconds', () => {
  expect(readLimits(VARIABLES)).toEqual({
    timeoutMs: 600_000,
    silenceMs: 60_000,
    attempts: 6,
    queueMs: 900_000,
  });
  expect(readTtl(VARIABLES)).toBe(86_400_000);
});

test.each([
  ['JOB_TTL_HOURS', '24h'],
  ['STAGE_TIMEOUT_SECONDS', '601'],
  ['STAGE_SILENCE_SECONDS', '0'],
  ['STAGE_ATTEMPTS', ''],
  ['QUEUE_SECONDS', '-1'],
] as const)('a wrong %s is an error that names it and what it is', (name, value) => {
  const read = name === 'JOB_TTL_HOURS' ? readTtl : readLimits;
  expect(() => read({ ...VARIABLES, [name]: value })).toThrow(`${name} is "${value}"`);
});
