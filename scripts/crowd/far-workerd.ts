/**
 * The product's own classes of objects, and its Worker, far from each other: a call to an object of another region, a
 * WebSocket to it and a request to a stage server there take their time, half on the way there and half on the way
 * back. They run in one isolate, so it has the rules of all. `PUT /far` sets them.
 */
import { FAR_BINDING, FAR_PATH, type FarRules } from './far-rules.ts';

type Env = Readonly<Record<string, unknown>>;
type Where = () => string;
type Method = (...args: readonly unknown[]) => unknown;
type ObjectClass = new (ctx: DurableObjectState, env: Env) => object;
interface Spot {
  readonly id: string;
  readonly latitude: number;
  readonly longitude: number;
  readonly hint: string | null;
}

let rules: FarRules = { ms: 0, home: '', dispatchers: 'well' };
/** regions of the jobs whose objects were made, by their names */
const regions = new Map<string, string>();

const pause = (ms: number): Promise<void> =>
  ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : Promise.resolve();

/** One way between two regions, milliseconds. */
const way = (here: string, there: string): number => (here === there ? 0 : rules.ms / 2);

const spotsOf = ({ REGIONS }: Env): readonly Spot[] => JSON.parse(String(REGIONS || '[]'));

/** The region where an object is. */
function regionOf(className: string, name: string): string {
  if (className === 'DispatcherObject') return name.slice(0, name.lastIndexOf('/'));
  return regions.get(name) ?? rules.home;
}

/** The region nearest to a caller; as on a map, which is enough for a few that are far apart. */
function nearest(env: Env, request: Request): string {
  const { latitude, longitude } = (request.cf ?? {}) as { readonly latitude?: string; readonly longitude?: string };
  if (latitude === undefined || longitude === undefined) return rules.home;
  const off = (spot: Spot): number => Math.hypot(spot.latitude - Number(latitude), spot.longitude - Number(longitude));
  return [...spotsOf(env)].sort((a, b) => off(a) - off(b))[0]?.id ?? rules.home;
}

/** Bytes that arrive `ms` later, as they came. */
function later(body: ReadableStream<Uint8Array>, ms: number): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream({
    start(controller) {
      const carry = async (): Promise<void> => {
        try {
          for (;;) {
            const { done, value } = await reader.read();
            setTimeout(() => (done ? controller.close() : controller.enqueue(value)), ms);
            if (done) return;
          }
        } catch (error) {
          setTimeout(() => controller.error(error), ms);
        }
      };
      void carry();
    },
    cancel: (reason) => reader.cancel(reason),
  });
}

/** The near end of a WebSocket whose messages take `ms` each way. */
function farSocket(far: WebSocket, ms: number): WebSocket {
  const { 0: near, 1: own } = new WebSocketPair();
  const carry = (from: WebSocket, to: WebSocket): void => {
    const deliver = (work: () => void): void => {
      setTimeout(() => {
        try {
          work();
        } catch {
          // closed meanwhile
        }
      }, ms);
    };
    from.addEventListener('message', ({ data }) => deliver(() => to.send(data)));
    from.addEventListener('close', ({ code, reason }) => deliver(() => to.close(code, reason)));
    from.addEventListener('error', () => deliver(() => to.close(1011, 'lost')));
  };
  for (const socket of [far, own]) {
    socket.binaryType = 'arraybuffer';
    socket.accept();
  }
  carry(far, own);
  carry(own, far);
  return near;
}

/** What a call gave, once it is here. */
async function arrived(answer: unknown, ms: number): Promise<unknown> {
  await pause(ms);
  if (!(answer instanceof Response) || !answer.webSocket || ms === 0) return answer;
  return new Response(null, { status: 101, webSocket: farSocket(answer.webSocket, ms) });
}

/** The stub of an object that is there, called from here. */
const farStub = (stub: object, here: Where, there: Where): object =>
  new Proxy(stub as Record<string, Method>, {
    get: (target, method: string) => {
      if (typeof target[method] !== 'function') return target[method];
      return async (...args: readonly unknown[]) => {
        const ms = way(here(), there());
        await pause(ms);
        try {
          // not value.apply(): of a stub every property is a remote one
          return await arrived(await target[method]?.(...args), ms);
        } catch (error) {
          await pause(ms);
          throw error;
        }
      };
    },
  });

/** The environment as it looks from a region. */
function farEnv(env: Env, here: Where): Env {
  const objects = { JOBS: 'JobObject', ACCOUNTS: 'AccountObject', DISPATCHERS: 'DispatcherObject' };
  const far = Object.entries({ ...objects, DIRECTORY: 'DirectoryObject' }).map(([binding, className]) => {
    const namespace = env[binding] as DurableObjectNamespace;
    const getByName = (name: string, options?: { readonly locationHint?: DurableObjectLocationHint }): object => {
      const hint = options?.locationHint;
      const region = hint && spotsOf(env).find((spot) => spot.hint === hint)?.id;
      // the first who asks for an object says where it is made
      if (region && !regions.has(name)) regions.set(name, region);
      return farStub(namespace.getByName(name, options), here, () => regionOf(className, name));
    };
    return [binding, { getByName }] as const;
  });
  const servers = JSON.parse(String(env.BACKENDS || '[]')) as { readonly url: string; readonly region: string }[];
  const reach = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const url = String(input instanceof Request ? input.url : input);
    const ms = way(here(), servers.find((server) => url.startsWith(server.url))?.region ?? rules.home);
    await pause(ms);
    const answer = await fetch(input as Request, init);
    const late = answer.body && ms > 0 ? new Response(later(answer.body, ms), answer) : answer;
    await pause(ms);
    return late;
  };
  return { ...env, ...Object.fromEntries(far), [FAR_BINDING]: { fetch: reach } };
}

/** Answers to a question for a slot that are none, one after the other. */
const NO_SUCH = { lease: 4711, backend: 'no-such', engineClass: null, features: [] };
const GARBAGE: readonly unknown[] = [
  ...[undefined, null, 7, 'slot', [], {}, { kind: 'what' }, { kind: 'slot' }, { kind: 'slot', slot: null }],
  { kind: 'slot', slot: { lease: 'first', backend: 'a', engineClass: null, features: [] } },
  { kind: 'slot', slot: { ...NO_SUCH, backend: 'a', features: 'all' } },
  { kind: 'slot', slot: NO_SUCH },
  ...[{ kind: 'line' }, { kind: 'line', position: 'last', etaMs: 'soon', isDown: null }],
  ...[{ kind: 'none' }, { kind: 'full', waitMs: 'long', retryMs: Number.NaN }, { kind: 'come' }],
];
let numGarbage = 0;

/** What becomes of a call to a dispatcher. */
function calling(method: string, own: Method, called: { readonly env: Env; readonly name: string }): Method {
  return async (...args) => {
    switch (rules.dispatchers) {
      case 'well':
        return own(...args);
      case 'throws':
        throw new Error('the dispatcher is away');
      case 'mute':
        await own(...args);
        while (rules.dispatchers === 'mute') await pause(1000);
        throw new Error('the answer was lost');
      case 'garbage': {
        const { job } = (args[0] ?? {}) as { readonly job?: string };
        const jobs = called.env.JOBS as DurableObjectNamespace;
        // and it calls for what there is not
        if (method === 'ask' && job)
          void (jobs.getByName(job) as unknown as Record<string, Method>).turn?.(called.name, NO_SUCH);
        return method === 'alarm' ? undefined : GARBAGE[numGarbage++ % GARBAGE.length];
      }
    }
  };
}

/** Methods of a dispatcher, its alarm among them. */
const CALLS = ['ask', 'renew', 'release', 'leave', 'admit', 'demand', 'alarm'];

/** A class of objects that sees the others from where it is. */
export function farClass(Base: ObjectClass, className: string): ObjectClass {
  const Far = class extends (Base as new (...args: never) => object) {
    constructor(ctx: DurableObjectState, env: Env) {
      super(...([ctx, farEnv(env, () => regionOf(className, ctx.id.name ?? ''))] as never));
    }
  };
  if (className !== 'DispatcherObject') return Far;
  const proto = Base.prototype as Readonly<Record<string, Method>>;
  for (const method of CALLS)
    Object.defineProperty(Far.prototype, method, {
      value(this: { readonly ctx: DurableObjectState; readonly env: Env }, ...args: unknown[]) {
        const own: Method = (...given) => proto[method]?.apply(this, [...given]);
        return calling(method, own, { env: this.env, name: this.ctx.id.name ?? '' })(...args);
      },
    });
  return Far;
}

/** The Worker near its caller, and the route that sets the rules. */
export const farWorker = (worker: {
  fetch(request: Request, env: never, ctx: ExecutionContext): Response | Promise<Response>;
}): ExportedHandler<Env> => ({
  async fetch(request, env, ctx) {
    if (new URL(request.url).pathname === FAR_PATH) {
      rules = await request.json();
      return new Response(null, { status: 204 });
    }
    const here = nearest(env, request);
    return worker.fetch(request, farEnv(env, () => here) as never, ctx);
  },
});
