/** A deployment whose isolate can be looked into, with a stage server in this process, and jobs in it. */
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { createStageServer } from '../../containers/onnx/app.ts';
import { listen } from '../../containers/onnx/listen.ts';
import type { Model } from '../../containers/onnx/model.ts';
import type { JobView } from '../../src/job/job.ts';
import type { WorkerBundle } from '../local/bundle.ts';
import { keptPort } from '../local/ports.ts';
import { openAccount } from '../local/secrets.ts';
import { type Inspector, openInspector } from './inspector.ts';

const KEY = 'bench-key-with-32-bytes-or-more-of-it';
/** stages that may wait at the server */
const QUEUE = 64;

export interface Inspected {
  readonly inspector: Inspector;
  /** Starts a job and returns its id. */
  start(seed: number): Promise<string>;
  /** Follows a job to its end by its events. */
  follow(id: string): Promise<void>;
  status(id: string): Promise<JobView>;
  /** How long the picture of a job is, bytes. */
  pictureBytes(id: string): Promise<number>;
  /** Processor time of workerd so far, milliseconds; NaN where the system does not tell. */
  cpuMs(): number;
  close(): Promise<void>;
}

/** Worker and objects in one isolate, as they may be on Cloudflare, before a server of `model` with so many slots. */
export async function startInspected({
  bundle,
  model,
  slots,
}: {
  readonly bundle: WorkerBundle;
  readonly model: Model;
  readonly slots: number;
}): Promise<Inspected> {
  const server = createStageServer({ models: [model], token: KEY, options: { queue: QUEUE, log: () => undefined } });
  const stage = await listen(server.app, { host: '127.0.0.1', port: 0 });
  const folder = await mkdtemp(join(tmpdir(), 'ralu-inspected-'));
  const inspectorPort = await keptPort();
  const vars = {
    BACKENDS: JSON.stringify([{ id: 'local', url: stage.url, slots }]),
    SIGNING_SECRET: KEY,
    ADMIN_KEY: KEY,
    BACKEND_TOKEN_LOCAL: KEY,
    QUEUE_SECONDS: '3600',
    STAGE_SILENCE_SECONDS: '600',
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
          ...bundle.options,
          name: 'ralu',
          modules: [{ type: 'ESModule', path: 'index.js', contents: bundle.script }],
          bindings: { ...bundle.options.bindings, ...vars },
        },
      ],
    }),
  );
  const url = await miniflare.ready;
  const headers = {
    authorization: `Bearer ${await openAccount(url.origin, KEY, 'bench')}`,
    'content-type': 'application/json',
  };
  const get = (path: string): Promise<Response> => fetch(new URL(path, url), { headers });
  const wake = async (): Promise<void> => void (await (await get('/healthz')).arrayBuffer());
  await wake();
  const inspector = await openInspector(inspectorPort, wake);
  return {
    inspector,
    async start(seed) {
      const body = JSON.stringify({ prompt: 'a red apple', seed });
      const created = await fetch(new URL('/v1/jobs', url), { method: 'POST', headers, body });
      if (created.status !== 202) throw new Error(`job refused: ${await created.text()}`);
      return ((await created.json()) as JobView).id;
    },
    async follow(id) {
      const events = await (await get(`/v1/jobs/${id}/events`)).text();
      if (!events.includes('event: done')) throw new Error(`the job did not finish: ${events.slice(-300)}`);
    },
    status: async (id) => (await (await get(`/v1/jobs/${id}`)).json()) as JobView,
    pictureBytes: async (id) => (await (await get(`/v1/jobs/${id}/image`)).arrayBuffer()).byteLength,
    cpuMs: () => workerdCpuMs(process.pid),
    async close() {
      inspector.close();
      await miniflare.dispose();
      await stage.close(0);
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Processor time of the workerd processes that a process has started, from `/proc`; a tick is 10 ms on Linux. */
export function workerdCpuMs(parent: number): number {
  try {
    return readdirSync('/proc').reduce((sum, pid) => {
      if (!/^\d+$/.test(pid)) return sum;
      // the name stands in parentheses and may hold spaces; the parent is the 2nd field after it, utime the 12th
      const [, name, fields = ''] = /\((.*)\) (.*)/.exec(readStat(pid)) ?? [];
      const told = fields.split(' ');
      if (!name?.startsWith('workerd') || told[1] !== String(parent)) return sum;
      return sum + 10 * (Number(told[11]) + Number(told[12]));
    }, 0);
  } catch {
    return Number.NaN;
  }
}

/** `/proc/PID/stat`; empty where the process has just ended. */
function readStat(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return '';
  }
}
