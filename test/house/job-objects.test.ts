/** A job's object and its picture are reached in one way, which goes by the jurisdiction in its id. */
import { expect, test } from 'vitest';
import { read, sources } from './sources.ts';

const WAYS = /\bJOBS\.(getByName|get|jurisdiction)\b|\.IMAGES\b/g;

test('nothing but job-object.ts asks for a job by its name, or picks a bucket', () => {
  const ways = [...sources('src'), ...sources('durable-objects')]
    .filter((path) => path !== 'src/job/job-object.ts')
    .flatMap((path) => [...read(path).matchAll(WAYS)].map(([what]) => `${path}: ${what}`));
  expect(ways).toEqual([]);
});
