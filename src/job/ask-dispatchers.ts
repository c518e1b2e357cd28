/** Asking dispatchers: each where its region is, side by side, and none for long. */
import type { Region } from '../fleet/regions.ts';
import { within } from '../stage/time-limit.ts';
import type { DispatcherCalls, Objects, Remote } from './rpc.ts';

/** What the dispatchers of these names answer within `limitMs`, or the Error that says why one did not. */
export async function askDispatchers<R>(
  { DISPATCHERS }: { readonly DISPATCHERS: Objects<DispatcherCalls> },
  names: readonly string[],
  { regions, limitMs }: { readonly regions: readonly Region[]; readonly limitMs: number },
  ask: (dispatcher: Remote<DispatcherCalls>) => Promise<R>,
): Promise<ReadonlyMap<string, R | Error>> {
  const one = async (name: string): Promise<readonly [string, R | Error]> => {
    try {
      // whoever asks first makes the object: it is to stand where its servers do
      const hint = regions.find(({ id }) => name.startsWith(`${id}/`))?.hint ?? null;
      const stub = hint === null ? DISPATCHERS.getByName(name) : DISPATCHERS.getByName(name, { locationHint: hint });
      return [name, await within(limitMs, 'the dispatcher', ask(stub))];
    } catch (error) {
      return [name, error instanceof Error ? error : new Error(String(error))];
    }
  };
  return new Map(await Promise.all(names.map(one)));
}
