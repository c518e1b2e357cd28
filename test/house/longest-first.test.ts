import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { SECONDS } from '../longest-first.ts';

test('every test file that is said to take long is there', () => {
  expect(Object.keys(SECONDS).filter((name) => !existsSync(`test/${name}.test.ts`))).toEqual([]);
});
