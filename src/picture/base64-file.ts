/** A file that came as base64, decoded only where it is looked at: a picture of 12 MB needs no 12 MB more. Pure. */
import type { FileBytes } from './bytes.ts';

/** Four characters are three bytes. */
const [CHARACTERS, BYTES] = [4, 3];

/**
 * The file of a base64 text, with or without the signs that fill it up; line breaks and spaces in it count for nothing.
 * Null where it is no base64. Law: any part of it is that part of what `atob` gives.
 */
export function base64File(text: string): FileBytes | null {
  const plain = /\s/.test(text) ? text.replace(/[\t\n\f\r ]/g, '') : text;
  const filled = /[^A-Za-z0-9+/]/.exec(plain)?.index ?? plain.length;
  if (!/^={0,2}$/.test(plain.slice(filled, filled + 3))) return null;
  if (filled < plain.length && plain.length % CHARACTERS !== 0) return null;
  const rest = filled % CHARACTERS;
  if (rest === 1) return null;
  const length = BYTES * Math.floor(filled / CHARACTERS) + Math.max(0, rest - 1);
  return {
    length,
    subarray(from, to) {
      const [begin, end] = [from, to].map((at) => Math.max(0, Math.min(at, length))) as [number, number];
      if (end <= begin) return new Uint8Array(0);
      const first = Math.floor(begin / BYTES);
      const units = atob(plain.slice(CHARACTERS * first, Math.min(filled, CHARACTERS * Math.ceil(end / BYTES))));
      const skipped = begin - BYTES * first;
      const bytes = new Uint8Array(end - begin);
      for (let i = 0; i < bytes.length; i++) bytes[i] = units.charCodeAt(skipped + i);
      return bytes;
    },
  };
}
