/**
 * The whole product in one process tree: the Worker in workerd, its storage in a folder, and a stage server beside it.
 * Loopback only, no look-ups, no account.
 */

import type { ChildProcess } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { bundleWorker, type WorkerBundle } from './bundle.ts';
import { keptPort } from './ports.ts';
import { isKeyOver, loadSecrets, openDemo, replaceKey, saveSecrets, secret, withOldKeys } from './secrets.ts';
import { type Engine, startGuard, startStage } from './stage.ts';

export interface StackOptions {
  /** folder for the objects' databases and the bucket; a second stack on it continues where the first stopped */
  readonly persistTo: string;
  readonly engine?: Engine;
  /** 0, the default, takes a free port */
  readonly port?: number;
  /** folder of the models of the stage server started here; the repository's own when absent */
  readonly models?: string;
  /** port of the stage server started here; a free one when absent */
  readonly stagePort?: number;
  /** token of the stage server started here; random when absent */
  readonly stageToken?: string;
  /** a stage server that runs already; none is started */
  readonly stage?: { readonly url: string; readonly token: string };
  /** variables and secrets over those of wrangler.toml */
  readonly vars?: Readonly<Record<string, string>>;
  /** where workerd's inspector listens; nowhere when absent */
  readonly inspectorPort?: number;
  /** made by `bundleWorker` before; saves its second */
  readonly bundle?: WorkerBundle;
  /** each line that the Worker or the stage server logs */
  readonly onLog?: (line: string, from: 'worker' | 'stage') => void;
}

export interface Stack {
  readonly url: string;
  /** of the demo account, opened with its credit at the first start on this folder */
  readonly key: string;
  readonly adminKey: string;
  readonly stage: { readonly url: string; readonly token: string };
  /** milliseconds from the call to each part's readiness; the parts start side by side */
  readonly startup: { readonly bundle: number; readonly worker: number; readonly stage: number };
  /** resolves when workerd and the stage server have ended; a second call waits for the first */
  close(): Promise<void>;
}

/**
 * A running stack. No process outlives this one: `close` ends them, an exit of any kind kills them, and where this
 * process itself is killed the stage server (or a guard in its place) sees its input end and takes workerd along.
 * Rejects, with nothing left running, when a part does not start.
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const began = performance.now();
  const since = (): number => Math.round(performance.now() - began);
  const startup = { bundle: 0, worker: 0, stage: 0 };
  const token = options.stage?.token ?? options.stageToken ?? secret();
  await mkdir(options.persistTo, { recursive: true });
  const secrets = withOldKeys(await loadSecrets(options.persistTo), Date.now());
  await saveSecrets(options.persistTo, secrets);

  // the stage server loads its model while the Worker is bundled and started, so its address must be known before it
  // listens
  const stagePort = options.stage === undefined ? (options.stagePort ?? (await keptPort())) : 0;
  const onStageLog = (line: string): void => options.onLog?.(line, 'stage');
  const started =
    options.stage === undefined
      ? startStage({
          engine: options.engine ?? 'native',
          port: stagePort,
          token,
          models: options.models,
          onLog: onStageLog,
        })
      : { child: startGuard(), ready: Promise.resolve(options.stage.url) };
  const { child } = started;
  const stageReady = started.ready.then((url) => {
    startup.stage = since();
    return url;
  });
  // the failure is awaited below; until then it must not count as unhandled
  stageReady.catch(() => undefined);
  const stageUrl = options.stage?.url ?? `http://127.0.0.1:${stagePort}`;

  // Miniflare does not tell workerd's id; Node announces every child it starts
  const runtimes = new Set<ChildProcess>();
  const noticeChild = (message: unknown): void => {
    const { process: born } = message as { process: ChildProcess };
    // the name is known once spawn() has returned
    queueMicrotask(() => {
      if (born.pid === undefined || !born.spawnfile.includes('workerd')) return;
      runtimes.add(born);
      child.ward(born.pid);
    });
  };
  subscribe('child_process', noticeChild);
  const killAll = (): void => {
    for (const born of [child.process, ...runtimes]) born.kill('SIGKILL');
  };
  process.once('exit', killAll);

  let dispose: () => Promise<void> = async () => undefined;
  const close = once(async () => {
    await Promise.allSettled([dispose(), child.stop()]);
    // a runtime that Miniflare was just starting again
    killAll();
    unsubscribe('child_process', noticeChild);
    process.off('exit', killAll);
  });

  try {
    const bundle = options.bundle ?? (await bundleWorker());
    startup.bundle = since();
    const { convertV4MiniflareOptions, Log, LogLevel, Miniflare } = await import('miniflare');
    const vars = {
      BACKENDS: JSON.stringify([{ id: 'local', url: stageUrl, region: 'local', models: ['*'] }]),
      SIGNING_SECRET: secrets.signingSecret,
      ADMIN_KEY: secrets.adminKey,
      OLD_KEYS_UNTIL: secrets.oldKeysUntil ?? '',
      BACKEND_TOKEN_LOCAL: token,
      WEBHOOK_RESOLVER: '',
      ...options.vars,
    };
    const miniflare = withoutSignalHandlers(
      () =>
        new Miniflare(
          convertV4MiniflareOptions({
            host: '127.0.0.1',
            port: options.port ?? 0,
            cf: false,
            telemetry: { enabled: false },
            logRequests: false,
            ...(options.inspectorPort !== undefined && { inspectorPort: options.inspectorPort }),
            log: new Log(LogLevel.ERROR),
            resourcePersistencePath: join(options.persistTo, 'state'),
            resourceTmpPath: join(options.persistTo, 'tmp'),
            handleStructuredLogs: ({ message }) => options.onLog?.(message, 'worker'),
            workers: [
              {
                ...bundle.options,
                name: 'ralu',
                modules: [{ type: 'ESModule', path: 'index.js', contents: bundle.script }],
                bindings: { ...bundle.options.bindings, ...vars },
              },
            ],
          }),
        ),
    );
    dispose = () => miniflare.dispose();
    const workerReady = miniflare.ready.then((address) => {
      startup.worker = since();
      return address;
    });
    const account = workerReady.then(async ({ origin }) => {
      const { key } = secrets;
      const isOver = key !== null && isKeyOver(secrets, Date.now());
      const opens = isOver ? await replaceKey(origin, vars.ADMIN_KEY, key) : key;
      const opened = await openDemo(origin, vars.ADMIN_KEY, opens);
      if (opened !== key) await saveSecrets(options.persistTo, { ...secrets, key: opened });
      return opened;
    });
    const [address, key] = await Promise.all([workerReady, account, stageReady]);
    return { url: address.origin, key, adminKey: vars.ADMIN_KEY, stage: { url: stageUrl, token }, startup, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** `work`, done at most once: later calls get the first one's promise. */
function once(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null;
  return () => (running ??= work());
}

/**
 * What `make` makes, without the signal handlers it installs: Miniflare's exit at once, but when to end and what comes
 * before is for the program to say.
 */
function withoutSignalHandlers<T>(make: () => T): T {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const before = signals.map((signal) => process.listeners(signal));
  const made = make();
  signals.forEach((signal, index) => {
    for (const listener of process.listeners(signal))
      if (!before[index]?.includes(listener)) process.off(signal, listener);
  });
  return made;
}
