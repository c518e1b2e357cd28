/** Which engine computes. Each is imported only when it is chosen. */
import { availableParallelism } from 'node:os';
import type { Device, Engine, EngineKind } from './engine.ts';

export interface EngineOptions {
  /** threads inside one operation; all cores when left out */
  readonly threads?: number | undefined;
  readonly device?: Device | undefined;
  /** told why native was given up; stderr when left out */
  readonly log?: ((line: string) => void) | undefined;
}

/**
 * The engine of that kind. Without a kind: native, or WASM where native cannot load, with the reason logged. A kind
 * that is asked for by name, or by a device only native has, is never replaced by another. Rejects when the engine
 * cannot load; throws RangeError for WASM on `cuda` or threads that are not a positive integer.
 */
export async function openEngine(
  kind?: EngineKind,
  { threads = availableParallelism(), device = 'cpu', log = console.error }: EngineOptions = {},
): Promise<Engine> {
  if (!Number.isInteger(threads) || threads < 1)
    throw new RangeError(`threads is ${threads}, expected a positive integer`);
  if (kind === 'wasm' && device !== 'cpu')
    throw new RangeError(`device is ${device}, expected cpu with the wasm engine`);
  if (kind !== 'wasm') {
    try {
      const { openNative } = await import('./native.ts');
      return await openNative({ threads, device });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      if (kind === 'native' || device !== 'cpu') throw new Error(`the native engine cannot load: ${reason}`, { cause });
      log(`the native engine cannot load, using wasm: ${reason.split('\n')[0]}`);
    }
  }
  const { openWasm } = await import('./wasm.ts');
  return openWasm({ threads });
}
