/** Bytes as base64 text. Pure. */

/** A multiple of three, so that no part but the last is filled up; short enough for a call's arguments. */
const PART_BYTES = 3 * 2 ** 13;

/** The base64 text of `bytes`. Law: `atob` gives them back. Memory: about that of the text, whatever its length. */
export function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += PART_BYTES)
    text += btoa(String.fromCharCode.apply(null, bytes.subarray(at, at + PART_BYTES) as unknown as number[]));
  return text;
}

/** The bytes that `toBase64` gave as text. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const units = atob(text);
  const bytes = new Uint8Array(units.length);
  // a loop of its own: a callback for each of ten million bytes takes a second
  for (let i = 0; i < units.length; i++) bytes[i] = units.charCodeAt(i);
  return bytes;
}
