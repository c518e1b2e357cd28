/** Bytes put together and read, as picture files have them. Pure. */

/** The bytes of a file from anywhere, looked at in parts: an array of them, or what is decoded when it is looked at. */
export interface FileBytes {
  readonly length: number;
  /** Those from `from` up to `to`; fewer where the file ends before. */
  subarray(from: number, to: number): Uint8Array;
}

/** Most parts of a file that are looked at. */
export const MOST_PARTS = 10_000;

/** The parts one after the other. */
export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A text of ASCII characters as bytes. */
export const ascii = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

/** Characters made at once: each is an argument of a call. */
const AT_ONCE = 8192;

/** Bytes as a text of one character each: Latin-1. */
export const latin = (bytes: Uint8Array): string => {
  let text = '';
  for (let at = 0; at < bytes.length; at += AT_ONCE) text += String.fromCharCode(...bytes.subarray(at, at + AT_ONCE));
  return text;
};

/** Whether `bytes` have this ASCII text at `at`. */
export function hasAt(bytes: FileBytes, at: number, text: string): boolean {
  const end = at + text.length;
  if (end > bytes.length) return false;
  const there = bytes.subarray(at, end);
  return ascii(text).every((value, i) => there[i] === value);
}

export const uint32 = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
};

export const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength);

export const uint16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 0xff);
