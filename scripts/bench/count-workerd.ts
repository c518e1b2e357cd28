/**
 * The product's own classes of objects, and its Worker, with everything counted that Cloudflare asks money for. They
 * run in one isolate, so one tally a class is enough. `GET /rows` says what was counted so far and begins anew.
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

function tallyOf(name: string): Tally {
  const tally = counted.tallies[name] ?? emptyTally();
  counted.tallies[name] = tally;
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
function countStorage(storage: DurableObjectStorage, name: string): void {
  const { sql } = storage;
  const exec = sql.exec.bind(sql);
  Object.defineProperty(sql, 'exec', {
    value: (query: string, ...bindings: unknown[]) => {
      const statements = statementsOf(query);
      // a cursor counts only the last of several statements
      for (const text of statements.slice(0, -1)) addTo(tallyOf(name), text, exec(text));
      const text = statements.at(-1) ?? query;
      const cursor = exec(text, ...bindings);
      open.push({ tally: tallyOf(name), text, cursor: cursor as SqlStorageCursor<never> });
      return cursor;
    },
  });
  const put = storage.kv.put.bind(storage.kv);
  Object.defineProperty(storage.kv, 'put', {
    value: (key: string, value: unknown) => {
      addTo(tallyOf(name), 'kv.put()', { rowsRead: 0, rowsWritten: 1 });
      put(key, value);
    },
  });
  for (const method of ['setAlarm', 'deleteAll'] as const) {
    const own = storage[method].bind(storage) as (...args: readonly unknown[]) => Promise<void>;
    Object.defineProperty(storage, method, {
      value: (...args: readonly unknown[]) => {
        addTo(tallyOf(name), `${method}()`, { rowsRead: 0, rowsWritten: 1 });
        return own(...args);
      },
    });
  }
}

/** A stub whose every call is a request to its object. */
const countedStub = (stub: object, name: string): object =>
  new Proxy(stub as Stub, {
    get(target, method: string) {
      if (typeof target[method] !== 'function') return target[method];
      return (...args: readonly unknown[]) => {
        const { calls } = tallyOf(name);
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
      getByName: (...args: Parameters<DurableObjectNamespace['getByName']>) =>
        countedStub(namespace.getByName(...args), name),
    };
  }
  return own;
}

/** A class of objects that counts for all of its objects. */
export function countedClass(name: string, Base: ObjectClass, classes: Classes): ObjectClass {
  const Counting = class extends (Base as new (...args: never) => object) {
    constructor(ctx: DurableObjectState, env: Env) {
      countStorage(ctx.storage, name);
      super(...([ctx, countedEnv(env, classes)] as never));
    }
  };
  const proto = Base.prototype as Readonly<Record<string, (...args: unknown[]) => unknown>>;
  for (const handler of ['alarm', 'webSocketMessage'] as const) {
    const own = proto[handler];
    if (own)
      Object.defineProperty(Counting.prototype, handler, {
        async value(...args: unknown[]) {
          const begin = Date.now();
          const { calls } = tallyOf(name);
          calls[handler] = (calls[handler] ?? 0) + 1;
          try {
            return await own.apply(this, args);
          } finally {
            tallyOf(name).ms += Date.now() - begin;
          }
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
