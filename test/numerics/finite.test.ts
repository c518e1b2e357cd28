import fc from 'fast-check';
import { expect, test } from 'vitest';
import { firstNotFinite } from '../../src/numerics/finite.ts';

test('the first value that is NaN or infinite is found, wherever it stands', () => {
  fc.assert(
    fc.property(fc.float32Array({ maxLength: 200 }), (values) => {
      expect(firstNotFinite(values)).toBe(values.findIndex((value) => !Number.isFinite(value)));
    }),
  );
  const values = new Float32Array(1000).fill(3.4e38);
  expect(firstNotFinite(values)).toBe(-1);
  for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
    for (const at of [0, 500, 999]) expect(firstNotFinite(values.with(at, wrong))).toBe(at);
});
