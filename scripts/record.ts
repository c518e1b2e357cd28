/** `npm run record`: the recording that the page shows before there is a picture, made here and now. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Recording } from '../src/job/recording.ts';
import { ROOT } from './local/bundle.ts';
import { runCommand } from './local/command-line.ts';
import { startStack } from './local/stack.ts';
import { HELP, parseOptions, type RecordOptions } from './record/options.ts';
import { endOf, middleOf, type Round, recordRounds } from './record/rounds.ts';

const FILE = join(ROOT, 'playground/race/recording.json');

async function versionOf(folder: string): Promise<string> {
  const { version } = JSON.parse(await readFile(join(ROOT, folder, 'package.json'), 'utf8')) as { version: string };
  return version;
}

/** A round in a line. */
function describe([own, plain]: Round): string {
  const [a, b] = [endOf(own), endOf(plain)];
  return `${own.preset} ${a.data.receipt.wall_ms.total} ms, plain ${b.data.receipt.wall_ms.total} ms; ${own.events.length} and ${plain.events.length} events`;
}

async function record({ prompt, seed, preset, rounds: count, out }: RecordOptions): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'ralu-record-'));
  const stack = await startStack({ persistTo: folder, engine: 'native' });
  try {
    const rounds = await recordRounds(stack, {
      prompt,
      seed,
      preset,
      count,
      say: (round, index) => console.log(`round ${index}: ${describe(round)}`),
    });
    const runs = middleOf(rounds);
    const { image, receipt } = endOf(runs[0]).data;
    const recording: Recording = {
      prompt,
      seed,
      width: image.width,
      height: image.height,
      model: receipt.model,
      model_digest: receipt.model_digest,
      recorded_on: new Date().toISOString().slice(0, 10),
      rounds: count,
      machine: { cores: cpus().length, processor: cpus()[0]?.model.trim() ?? 'unknown' },
      versions: {
        ralu: await versionOf('.'),
        node: process.versions.node,
        workerd: await versionOf('node_modules/workerd'),
      },
      runs,
    };
    const file = out ?? FILE;
    await writeFile(file, `${JSON.stringify(recording)}\n`);
    console.log(`kept: ${describe(runs)}; written to ${file}`);
    return 0;
  } finally {
    await stack.close();
    await rm(folder, { recursive: true, force: true });
  }
}

await runCommand({ command: 'npm run record', help: HELP, parse: parseOptions, run: record });
