import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromBase64, toBase64 } from '../../src/job/base64.ts';

describe('base64', () => {
  test('of any bytes is what Node makes of them, and they come back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        expect(toBase64(bytes)).toBe(Buffer.from(bytes).toString('base64'));
        expect(fromBase64(toBase64(bytes))).toEqual(bytes);
      }),
    );
  });

  test('of lengths about a part is whole', () => {
    for (const length of [24_575, 24_576, 24_577, 24_578, 49_152, 100_000]) {
      const bytes = Uint8Array.from({ length }, (_, i) => (31 * i) % 256);
      expect(toBase64(bytes)).toBe(Buffer.from(bytes).toString('base64'));
    }
  });

  test('of a part of a buffer is that part', () => {
    expect(toBase64(Uint8Array.of(1, 2, 3, 4, 5).subarray(1, 4))).toBe('AgME');
  });
});
