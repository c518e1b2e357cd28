/**
 * Memory of the isolate that runs a job of FLUX's size, 1024² and 4096 tokens of 64, sampled through workerd's
 * inspector while the job runs.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { createStageServer } from '../../containers/onnx/app.ts';
import { listen } from '../../containers/onnx/listen.ts';
import { bundleWorker } from '../local/bundle.ts';
import { closedFormModel } from '../local/closed-form-model.ts';
import { keptPort } from '../local/ports.ts';
import { openAccount } from '../local/secrets.ts';

const KEY = 'bench-key-with-32-bytes-or-more-of-it';
const SAMPLE_MS = 5;
const MIB = 2 ** 20;

/** The inspector of a running isolate: what it uses now, heap and array buffers together, MiB. */
async function openInspector(port: number) {
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
  const waiting = new Map<number, (result: Record<string, number>) => void>();
  socket.onmessage = ({ data }) => {
    const { id, result } = JSON.parse(String(data)) as { id?: number; result?: Record<string, number> };
    if (id !== undefined) waiting.get(id)?.(result ?? {});
  };
  let last = 0;
  const ask = (method: string) =>
    new Promise<Record<string, number>>((resolve) => {
      waiting.set(++last, resolve);
      socket.send(JSON.stringify({ id: last, method }));
    });
  return {
    async used(): Promise<number> {
      const { usedSize, backingStorageSize } = await ask('Runtime.getHeapUsage');
      if (usedSize === undefined || backingStorageSize === undefined)
        throw new Error('the inspector does not tell what the isolate uses');
      return (usedSize + backingStorageSize) / MIB;
    },
    close: () => socket.close(),
  };
}

/** How much memory the job took above idle, in one sentence. */
export async function benchMemory(): Promise<string> {
  const { model } = closedFormModel({
    facts: { id: 'flux-size', channels: 16, sizes: [{ width: 1024, height: 1024 }], max_tokens: 4096 },
  });
  const server = createStageServer({ models: [model], token: KEY, options: { log: () => undefined } });
  const stage = await listen(server.app, { host: '127.0.0.1', port: 0 });
  const folder = await mkdtemp(join(tmpdir(), 'ralu-memory-'));
  const { script, options } = await bundleWorker();
  const inspectorPort = await keptPort();
  const vars = {
    BACKENDS: JSON.stringify([{ id: 'local', url: stage.url }]),
    SIGNING_SECRET: KEY,
    ADMIN_KEY: KEY,
    BACKEND_TOKEN_LOCAL: KEY,
  };
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      cf: false,
      telemetry: { enabled: false },
      inspectorPort,
      handleStructuredLogs: () => undefined,
      resourcePersistencePath: folder,
      workers: [
        {
          ...options,
          name: 'ralu',
          modules: [{ type: 'ESModule', path: 'index.js', contents: script }],
          bindings: { ...options.bindings, ...vars },
        },
      ],
    }),
  );
  try {
    const url = await miniflare.ready;
    const headers = {
      authorization: `Bearer ${await openAccount(url.origin, KEY, 'bench')}`,
      'content-type': 'application/json',
    };
    const runJob = async () => {
      const { id } = (await (
        await fetch(new URL('/v1/jobs', url), {
          method: 'POST',
          headers,
          body: JSON.stringify({ prompt: 'a red apple', seed: 1, preset: '4x' }),
        })
      ).json()) as { id: string };
      const events = await (await fetch(new URL(`/v1/jobs/${id}/events`, url), { headers })).text();
      if (!events.includes('event: done')) throw new Error(`the job did not finish: ${events.slice(-300)}`);
    };
    await (await fetch(new URL('/healthz', url))).arrayBuffer();
    const inspector = await openInspector(inspectorPort);
    const idle = await inspector.used();
    let peak = idle;
    let isRunning = true;
    const sampling = (async () => {
      while (isRunning) {
        peak = Math.max(peak, await inspector.used());
        await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
      }
    })();
    await runJob();
    isRunning = false;
    await sampling;
    inspector.close();
    return `${(peak - idle).toFixed(1)} MiB above idle at the highest of samples every ${SAMPLE_MS} ms while one job ran (idle ${idle.toFixed(1)} MiB, peak ${peak.toFixed(1)} MiB; JavaScript heap and buffers of the isolate that runs Worker and object, garbage not yet collected included; stage server with a closed-form model).`;
  } finally {
    await miniflare.dispose();
    await stage.close(0);
    await server.close();
    await rm(folder, { recursive: true, force: true });
  }
}
