/** A file in base64 that is decoded where it is looked at, held to what `atob` gives. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { toBase64 } from '../../src/job/base64.ts';
import { base64File } from '../../src/picture/base64-file.ts';

/** What `atob` gives; null where it throws. */
function decoded(text: string): Uint8Array | null {
  try {
    return Uint8Array.from(atob(text), (unit) => unit.charCodeAt(0));
  } catch {
    return null;
  }
}

test('any part is that part of what atob gives, filled up or not, with line breaks or without', () => {
  const shapes = fc.constantFrom(
    (text: string) => text,
    (text: string) => text.replace(/=+$/, ''),
    (text: string) => text.replace(/.{1,7}/g, '$&\r\n'),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), shapes, fc.nat(70), fc.nat(70), (bytes, shape, from, to) => {
      const file = base64File(shape(toBase64(bytes)));
      expect(file?.length).toBe(bytes.length);
      expect(file?.subarray(from, to)).toEqual(bytes.subarray(from, Math.max(from, to)));
    }),
  );
});

test('a text is refused where atob refuses it, and nowhere else', () => {
  const characters = fc.string({
    unit: fc.constantFrom('A', 'q', '/', '+', '=', '=', ' ', '\n', '-', 'é'),
    maxLength: 9,
  });
  fc.assert(
    fc.property(characters, (text) => {
      const file = base64File(text);
      expect(file?.subarray(0, file.length) ?? null).toEqual(decoded(text));
    }),
    { numRuns: 2000 },
  );
});
