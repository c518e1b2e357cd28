/** What waits at a dispatcher, brought to the deployment's autoscaler: the newest alone, at most every ten seconds. */
import { type DemandEvent, type Told, type WaitingWork, whenToTell } from '../../src/fleet/demand.ts';
import { logLine } from '../../src/job/log.ts';

/** Where it goes; nowhere where there is no address. */
export interface DemandEnv {
  /** takes structured CloudEvents by POST; empty: none */
  readonly DEMAND_URL?: string;
  /** secret: its bearer token, where it wants one */
  readonly DEMAND_TOKEN?: string;
  readonly PUBLIC_URL: string;
}

/** How long the autoscaler may take to answer: less than the time between two events. */
const TIMEOUT_MS = 5_000;
/** The row's key. */
const TOLD = 'told';

export interface Teller {
  /**
   * Tells the newest where that is due; `event` makes it. Null, or when there will be something to tell: whoever calls
   * comes back by then.
   */
  look(waiting: WaitingWork, now: number, event: () => DemandEvent): number | null;
}

/** Nobody waits for the autoscaler: `later` keeps the object alive until it has answered. */
export function makeTeller(env: () => DemandEnv, kv: SyncKvStorage, later: (work: Promise<unknown>) => void): Teller {
  // outlives the object, so that an autoscaler hears of the end of what it was told
  let told = kv.get<Told>(TOLD) ?? null;
  return {
    look(waiting, now, event) {
      const { DEMAND_URL } = env();
      if (!DEMAND_URL) return null;
      const at = whenToTell(told, waiting, now);
      if (at === null || at > now) return at;
      told = { at: now, work: [...waiting] };
      kv.put(TOLD, told);
      later(send(DEMAND_URL, env().DEMAND_TOKEN, event()));
      return null;
    },
  };
}

/** Never rejects: what was not taken is not repeated, the next event says how it stands then. */
async function send(url: string, token: string | undefined, event: DemandEvent): Promise<void> {
  const headers = {
    'content-type': 'application/cloudevents+json',
    ...(token && { authorization: `Bearer ${token}` }),
  };
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  try {
    // a redirect would take the token along to wherever it leads
    const init = { method: 'POST', headers, body: JSON.stringify(event), redirect: 'manual', signal } as const;
    const response = await fetch(url, init);
    await response.body?.cancel().catch(() => {});
    if (!response.ok) throw new Error(`answered ${response.status}`);
  } catch (error) {
    logLine('demand_not_told', { dispatcher: event.subject, error: String(error) });
  }
}
