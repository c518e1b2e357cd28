/**
 * The product's own classes of objects, and its Worker, with everything counted that Cloudflare asks money for. They
 * run in one isolate, so it has all tallies, one an object. `GET /rows` says what was counted so far and begins anew.
 */
import { statementsOf } from './statements.ts';
import { addTo, type Counted, emptyTally, type Tally } from './tally.ts';

interface Classes {
  /** name of the binding, by the name of its class */
  readonly bindings: Readonly<Record<string, string>>;
}

type Env = Readonly<Record<string, unknown>>;
type ObjectClass = new (ctx: DurableObjectState, env: Env) => object;
interface Stub {
  readonly [method: string]: (...args: readonly unknown[]) => unknown;
}

let counted: Counted = { requests: 0, tallies: {} };
/** cursors whose rows are still being read: what they cost is known once they are */
let open: { readonly tally: Tally; readonly text: string; readonly cursor: SqlStorageCursor<never> }[] = [];

/** Of one object: its class and its own name. */
const keyOf = (className: string, name: string | undefined): string => `${className} ${name ?? ''}`;

function tallyOf(key: string): Tally {
  const tally = counted.tallies[key] ?? emptyTally();
  counted.tallies[key] = tally;
  return tally;
}

/** What was counted since this was last called. */
function take(): Counted {
  for (const { tally, text, cursor } of open) addTo(tally, text, cursor);
  open = [];
  const taken = counted;
  counted = { requests: 0, tallies: {} };
  return taken;
}

/** Counts what an object reads and writes. The platform wants its own state in a constructor, so that is changed. */
function countStorage(storage: DurableObjectStorage, tally: () => Tally): void {
  const { sql, kv } = storage;
  const exec = sql.exec.bind(sql);
  Object.defineProperty(sql, 'exec', {
    value: (query: string, ...bindings: unknown[]) => {
      const statements = statementsOf(query);
      // a cursor counts only the last of several statements
      for (const text of statements.slice(0, -1)) addTo(tally(), text, exec(text));
      const text = statements.at(-1) ?? query;
      const cursor = exec(text, ...bindings);
      open.push({ tally: tally(), text, cursor: cursor as SqlStorageCursor<never> });
      return cursor;
    },
  });
  const countEach = (target: object, method: string, text: string, rowsWritten: number): void => {
    const own = (target as Record<string, (...args: readonly unknown[]) => unknown>)[method]?.bind(target);
    Object.defineProperty(target, method, {
      value: (...args: readonly unknown[]) => {
        addTo(tally(), text, { rowsRead: 1 - rowsWritten, rowsWritten });
        return own?.(...args);
      },
    });
  };
  for (const method of ['setAlarm', 'deleteAll']) countEach(storage, method, `${method}()`, 1);
  for (const method of ['put', 'delete']) countEach(kv, method, `kv.${method}()`, 1);
  countEach(kv, 'get', 'kv.get()', 0);
}

/** A stub whose every call is a request to its object. */
const countedStub = (stub: object, key: string): object =>
  new Proxy(stub as Stub, {
    get(target, method: string) {
      if (typeof target[method] !== 'function') return target[method];
      return (...args: readonly unknown[]) => {
        const { calls } = tallyOf(key);
        calls[method] = (calls[method] ?? 0) + 1;
        // not value.apply(): of a stub every property is a remote one
        return (target as Record<string, Stub[string]>)[method]?.(...args);
      };
    },
  });

/** The environment, with bindings of objects that count their calls. */
function countedEnv(env: Env, { bindings }: Classes): Env {
  const own = { ...env };
  for (const [name, binding] of Object.entries(bindings)) {
    const namespace = env[binding] as DurableObjectNamespace;
    own[binding] = {
      ...namespace,
      getByName: (...args: Parameters<DurableObjectNamespace['getByName']>) =>
        countedStub(namespace.getByName(...args), keyOf(name, args[0])),
    };
  }
  return own;
}

/** A class of objects that counts for all of its objects. */
export function countedClass(name: string, Base: ObjectClass, classes: Classes): ObjectClass {
  const Counting = class extends (Base as new (...args: never) => object) {
    constructor(ctx: DurableObjectState, env: Env) {
      countStorage(ctx.storage, () => tallyOf(keyOf(name, ctx.id.name)));
      super(...([ctx, countedEnv(env, classes)] as never));
    }
  };
  const proto = Base.prototype as Readonly<Record<string, (...args: unknown[]) => unknown>>;
  for (const handler of ['alarm', 'webSocketMessage'] as const) {
    const own = proto[handler];
    if (own)
      Object.defineProperty(Counting.prototype, handler, {
        value(this: InstanceType<typeof Counting> & { readonly ctx: DurableObjectState }, ...args: unknown[]) {
          const { calls } = tallyOf(keyOf(name, this.ctx.id.name));
          calls[handler] = (calls[handler] ?? 0) + 1;
          return own.apply(this, args);
        },
      });
  }
  return Counting;
}

/** The Worker with every request counted, and the route that says what was. */
export const countedWorker = (
  worker: { fetch(request: Request, env: never, ctx: ExecutionContext): Response | Promise<Response> },
  classes: Classes,
): ExportedHandler<Env> => ({
  fetch(request, env, ctx) {
    if (new URL(request.url).pathname === '/rows') return Response.json(take());
    counted.requests += 1;
    return worker.fetch(request, countedEnv(env, classes) as never, ctx);
  },
});
