/**
 * The part of Web Crypto that the objects use, without threads, so that a history does not depend on which of them is
 * done first; its chance comes from the history.
 */
import { createHash, createHmac, hkdfSync } from 'node:crypto';
import type { Random } from './random.ts';

interface Hkdf {
  readonly info: Uint8Array;
  readonly salt: Uint8Array;
}

const bufferOf = (bytes: Uint8Array): ArrayBuffer =>
  bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;

/** Puts it in the place of the real one. Returns what undoes it. */
export function installCrypto(random: Random): () => void {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'crypto') as PropertyDescriptor;
  const derived = new Map<string, Uint8Array>();
  const derive = (secret: Uint8Array, { info, salt }: Hkdf): Uint8Array => {
    const name = `${Buffer.from(secret).toString('hex')} ${Buffer.from(info).toString('hex')}`;
    const known = derived.get(name);
    if (known) return known;
    const key = new Uint8Array(hkdfSync('sha256', secret, salt, info, 32));
    derived.set(name, key);
    return key;
  };
  const subtle = {
    importKey: async (_format: string, key: Uint8Array) => key,
    deriveKey: async (how: Hkdf, key: Uint8Array) => derive(key, how),
    sign: async (_how: string, key: Uint8Array, data: Uint8Array) =>
      bufferOf(createHmac('sha256', key).update(data).digest()),
    digest: async (_how: string, data: Uint8Array) => bufferOf(createHash('sha256').update(data).digest()),
  };
  const getRandomValues = <T extends Uint8Array | Uint32Array>(into: T): T => {
    for (let i = 0; i < into.length; i++) into[i] = Math.floor(random.next() * 2 ** (8 * into.BYTES_PER_ELEMENT));
    return into;
  };
  const randomUUID = (): string => {
    const digits = Buffer.from(getRandomValues(new Uint8Array(16))).toString('hex');
    return digits.replace(/(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  };
  Object.defineProperty(globalThis, 'crypto', { configurable: true, value: { subtle, getRandomValues, randomUUID } });
  return () => Object.defineProperty(globalThis, 'crypto', before);
}
