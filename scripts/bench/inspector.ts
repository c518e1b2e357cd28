/** The inspector of a running isolate: what memory it uses. */

const MIB = 2 ** 20;

export interface Inspector {
  /** What the isolate uses now, JavaScript heap and array buffers together, MiB. */
  used(): Promise<number>;
  /** The same after its garbage was collected: what is held. */
  held(): Promise<number>;
  /** What a method of the protocol answers. */
  ask(method: string, params?: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>>;
  /** Hears the protocol's events of this name. */
  on(method: string, hear: (params: Readonly<Record<string, unknown>>) => void): void;
  close(): void;
}

/**
 * Connects to the isolate of the Worker `ralu` behind an inspector's port. Throws where there is none. `wake` makes a
 * request to it: garbage is collected only in an isolate that is at work.
 */
export async function openInspector(port: number, wake: () => Promise<unknown>): Promise<Inspector> {
  const targets = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as {
    webSocketDebuggerUrl: string;
    id: string;
  }[];
  const target = targets.find(({ id }) => id.includes('ralu')) ?? targets[0];
  if (!target) throw new Error('the inspector shows no isolate');
  const socket = new WebSocket(target.webSocketDebuggerUrl);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error('the inspector refused the connection'));
  });
  const waiting = new Map<number, PromiseWithResolvers<Record<string, unknown>>>();
  const hearers = new Map<string, (params: Readonly<Record<string, unknown>>) => void>();
  socket.onmessage = ({ data }) => {
    const { id, result, error, method, params } = JSON.parse(String(data)) as {
      id?: number;
      result?: Record<string, unknown>;
      error?: { message: string };
      method?: string;
      params?: Record<string, unknown>;
    };
    if (method !== undefined) hearers.get(method)?.(params ?? {});
    if (id === undefined) return;
    if (error) waiting.get(id)?.reject(new Error(`the inspector: ${error.message}`));
    else waiting.get(id)?.resolve(result ?? {});
    waiting.delete(id);
  };
  socket.onclose = () => {
    for (const { reject } of waiting.values()) reject(new Error('the inspector has closed the connection'));
    waiting.clear();
  };
  let last = 0;
  const ask: Inspector['ask'] = (method, params = {}) => {
    const answer = Promise.withResolvers<Record<string, unknown>>();
    waiting.set(++last, answer);
    socket.send(JSON.stringify({ id: last, method, params }));
    return answer.promise;
  };
  const used = async (): Promise<number> => {
    const { usedSize, backingStorageSize } = await ask('Runtime.getHeapUsage');
    if (typeof usedSize !== 'number' || typeof backingStorageSize !== 'number')
      throw new Error('the inspector does not tell what the isolate uses');
    return (usedSize + backingStorageSize) / MIB;
  };
  return {
    used,
    async held() {
      let isCollected = false;
      const collected = ask('HeapProfiler.collectGarbage').finally(() => {
        isCollected = true;
      });
      while (!isCollected) await Promise.race([collected, wake()]);
      await collected;
      return used();
    },
    ask,
    on: (method, hear) => void hearers.set(method, hear),
    close: () => socket.close(),
  };
}
