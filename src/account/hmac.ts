/**
 * One secret of the deployment signs everything; what for is part of what is signed, so nothing signed for one purpose
 * passes for another.
 */

const encoder = new TextEncoder();

export const toHex = (bytes: ArrayBuffer): string =>
  Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');

/** HMAC-SHA-256 of `purpose`, a zero byte and `text`; 32 bytes. */
export async function hmacBytes(secret: string, purpose: string, text: string): Promise<ArrayBuffer> {
  const key = await crypto.subtle.importKey('raw', encoder.encode(secret), { name: 'HMAC', hash: 'SHA-256' }, false, [
    'sign',
  ]);
  return crypto.subtle.sign('HMAC', key, encoder.encode(`${purpose}\0${text}`));
}

/** The same as 64 hex digits. */
export const hmacHex = async (secret: string, purpose: string, text: string): Promise<string> =>
  toHex(await hmacBytes(secret, purpose, text));
