/**
 * `npm run generate -- "a red apple"`: a prompt becomes a picture on disk through the whole pipeline, shown as it
 * happens.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { CostView } from '../src/billing/charge.ts';
import type { Receipt } from '../src/billing/receipt.ts';
import type { PlanView } from '../src/job/job.ts';
import { checkModel, describeAgain, fromPicture, isSame, NotAgain, type Original } from './generate/again.ts';
import {
  cancelJob,
  createJob,
  type FollowedEvent,
  fetchImage,
  follow,
  Refused,
  type Service,
  Unreachable,
} from './generate/client.ts';
import { type GenerateOptions, HELP, parseOptions } from './generate/options.ts';
import { beside, saveStagePictures, sideBySide } from './generate/pictures.ts';
import { drawProgress } from './generate/progress.ts';
import { type Comparison, compare, describeComparison, describeReceipt } from './generate/receipt.ts';
import { runCommand, USAGE } from './local/command-line.ts';
import { reachStage, StageUnusable } from './local/external-stage.ts';
import { startStack } from './local/stack.ts';

const EXIT = { done: 0, failed: 1, usage: USAGE, interrupted: 130 } as const;
/** how long a service may take to confirm that a job is cancelled */
const CANCEL_MS = 2000;

/** The job ended without a picture, or something around it did: one sentence, no stack. */
class Failed extends Error {}

interface Run {
  readonly events: readonly FollowedEvent[];
  readonly plan: PlanView;
  readonly receipt: Receipt;
  readonly image: Uint8Array;
  readonly size: { readonly width: number; readonly height: number };
}

/** What a job without a picture cost, in a sentence; nothing where nothing is charged. */
const costOf = ({ cost }: { readonly cost: CostView | null }): string => (cost?.usd ? `, cost: ${cost.usd} USD` : '');

/**
 * One job from its request to its bytes. On an interrupt the job is cancelled first; rejects with the signal's reason
 * then.
 */
async function runJob(
  service: Service,
  body: Readonly<Record<string, unknown>>,
  draw: (event: FollowedEvent) => void,
  signal: AbortSignal,
): Promise<Run> {
  // not interruptible: a job whose id is not known yet could not be cancelled
  const job = await createJob(service, body);
  const events: FollowedEvent[] = [];
  try {
    for await (const event of follow(service, job.id, { signal })) {
      events.push(event);
      draw(event);
      if (event.type === 'failed')
        throw new Failed(
          `the job failed: ${event.data.message} (${event.data.reason}, attempts: ${event.data.attempts}${costOf(event.data)})`,
        );
      if (event.type === 'cancelled')
        throw new Failed(`the job was cancelled by someone else (in ${event.data.room}${costOf(event.data)})`);
      if (event.type === 'done') {
        const { image, receipt } = event.data;
        return {
          events,
          plan: job.plan,
          receipt,
          image: await fetchImage(service, job.id),
          size: { width: image.width, height: image.height },
        };
      }
    }
    throw new Failed('the events ended before the job did');
  } catch (error) {
    // an unconfirmed cancel must not keep the user waiting
    if (signal.aborted) await cancelJob(service, job.id, CANCEL_MS).catch(() => undefined);
    throw error;
  }
}

interface Results {
  readonly run: Run;
  readonly files: readonly string[];
  readonly comparison: Comparison | null;
}

async function generate(options: GenerateOptions, service: Service, signal: AbortSignal): Promise<Results> {
  const { body } = options;
  const out = resolve(options.out);
  const screen = {
    isTTY: process.stderr.isTTY === true,
    columns: process.stderr.columns || 80,
    write: (text: string) => void process.stderr.write(text),
  };
  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  await mkdir(dirname(out), { recursive: true });

  // the first job of a stage server pays for memory and threads that later ones find ready: neither side of a
  // comparison may be that one
  if (options.compare) {
    say('warming up with one job that is not counted');
    const { receipt } = await runJob(service, body, () => undefined, signal);
    if (receipt.preset === 'plain')
      throw new Failed('there is nothing to compare: the preset is the plain model itself; --preset names another');
    say(`preset ${receipt.preset}`);
  }
  const run = await runJob(service, body, drawProgress(screen), signal);
  await writeFile(out, run.image);
  const files = [out, ...(await saveStagePictures(run.events, out, run.size))];
  if (!options.compare) return { run, files, comparison: null };

  say('preset plain');
  const { r: _r, published: _published, upsampling: _upsampling, reference: _reference, ...common } = body;
  const plain = await runJob(
    service,
    { ...common, preset: 'plain', seed: run.receipt.seed },
    drawProgress(screen),
    signal,
  );
  const pair = beside(out, 'compare', 'png');
  await writeFile(pair, await sideBySide(plain.image, run.image));
  return { run, files: [...files, pair], comparison: compare(run.receipt, plain.receipt) };
}

function report({ run, files, comparison }: Results, options: GenerateOptions, original: Original | null): string {
  const { plan, receipt, size } = run;
  const again = original && { from: original.file, same_bytes: isSame(original.bytes, run.image) };
  if (options.json)
    return JSON.stringify({ image: files[0], files, ...size, plan, receipt, comparison, again }, null, 2);
  const lines = ['', describeReceipt(receipt, plan)];
  if (comparison) lines.push(describeComparison(comparison));
  if (original) lines.push(describeAgain(original, run.image));
  lines.push(
    `saved      ${size.width}x${size.height}${comparison ? '; compare: plain left, staged right' : ''}`,
    ...files.map((file) => `  ${file}`),
  );
  return lines.join('\n');
}

/** The service to ask: the one named, or a local stack on a folder that goes away with it. */
async function openService(
  options: GenerateOptions,
  signal: AbortSignal,
): Promise<{ service: Service; close: () => Promise<void> }> {
  if (options.service) return { service: options.service, close: async () => undefined };
  const folder = await mkdtemp(join(tmpdir(), 'ralu-'));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    if (options.stage)
      await reachStage(options.stage, { say: (text) => void process.stderr.write(`${text}\n`), signal });
    const stack = await startStack({
      persistTo: folder,
      engine: options.engine,
      ...(options.stage && { stage: options.stage }),
    });
    const close = async (): Promise<void> => {
      await stack.close();
      await remove();
    };
    return { service: stack, close };
  } catch (error) {
    await remove();
    if (error instanceof StageUnusable || signal.aborted) throw error;
    throw new Failed(`the local stack did not start: ${(error as Error).message}`);
  }
}

/** The exit code of the whole command. */
async function main(given: GenerateOptions): Promise<number> {
  const interrupt = new AbortController();
  // npm passes a terminal's Ctrl-C on, so it may come twice: once is enough
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interrupt.abort());
  let started: ReturnType<typeof openService> | null = null;
  try {
    const { options, original } =
      given.from === null ? { options: given, original: null } : await fromPicture(given, given.from);
    started = openService(options, interrupt.signal);
    const { service } = await started;
    interrupt.signal.throwIfAborted();
    if (original) await checkModel(service, original);
    const results = await generate(options, service, interrupt.signal);
    process.stdout.write(`${report(results, options, original)}\n`);
    return EXIT.done;
  } catch (error) {
    if (interrupt.signal.aborted) {
      process.stderr.write('\ngenerate: interrupted\n');
      return EXIT.interrupted;
    }
    if (!isExpected(error)) throw error;
    process.stderr.write(`\ngenerate: ${error.message}\n`);
    // what only the service could judge, such as a size its model does not have
    return error instanceof Refused && (error.status === 400 || error.status === 422) ? EXIT.usage : EXIT.failed;
  } finally {
    await started?.then(({ close }) => close()).catch(() => undefined);
  }
}

/** Failures that are nobody's mistake in this program: a sentence tells them. Errors of the file system have a code. */
const isExpected = (error: unknown): error is Error =>
  error instanceof Failed ||
  error instanceof NotAgain ||
  error instanceof StageUnusable ||
  error instanceof Refused ||
  error instanceof Unreachable ||
  (error instanceof Error && 'code' in error && 'path' in error);

await runCommand({
  command: 'npm run generate',
  help: HELP,
  parse: (args) => parseOptions(args, process.env),
  run: main,
});
