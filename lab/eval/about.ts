/** What is kept beside the results: the model they are of, what was measured before them, and when they were made. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { arch, cpus, loadavg, platform, totalmem } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../../scripts/local/bundle.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import type { Calibration } from './calibrate.ts';
import type { Sitting } from './report.ts';

export interface About {
  readonly facts: ModelFacts;
  readonly calibration: Calibration;
  readonly sittings: readonly Sitting[];
}

const HOME = `${ROOT}.ralu/eval`;

/** The folder of a model's results at a size. */
export const folderOf = (
  { digest }: Pick<ModelFacts, 'digest'>,
  { width, height }: { width: number; height: number },
): string => join(HOME, `${digest.slice(0, 12)}-${width}x${height}`);

const fileOf = (folder: string): string => join(folder, 'about.json');
export const resultsOf = (folder: string): string => join(folder, 'results.jsonl');

/** What is kept in `folder`; null where nothing is. */
export const loadAbout = (folder: string): About | null =>
  existsSync(fileOf(folder)) ? (JSON.parse(readFileSync(fileOf(folder), 'utf8')) as About) : null;

export function saveAbout(folder: string, about: About): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(fileOf(folder), `${JSON.stringify(about, null, 2)}\n`);
}

/** The folder whose results changed last, of this model and size where they are given; null where there is none. */
export function latestFolder(
  model: string | null,
  size: { readonly width: number; readonly height: number } | null,
): string | null {
  const folders = existsSync(HOME) ? readdirSync(HOME).map((name) => join(HOME, name)) : [];
  const fitting = folders.filter((folder) => {
    const about = loadAbout(folder);
    if (!about || !existsSync(resultsOf(folder))) return false;
    const { width, height } = about.calibration;
    return (
      (model === null || about.facts.id === model) &&
      (size === null || (width === size.width && height === size.height))
    );
  });
  return fitting.sort((a, b) => statSync(resultsOf(b)).mtimeMs - statSync(resultsOf(a)).mtimeMs)[0] ?? null;
}

/** This time the command runs: now, with these arguments, on this machine. */
export function thisSitting(args: readonly string[], of: Pick<Sitting, 'set' | 'claims'>): Sitting {
  const [cpu] = cpus();
  const versionOf = (name: string): string =>
    (JSON.parse(readFileSync(`${ROOT}node_modules/${name}/package.json`, 'utf8')) as { version: string }).version;
  return {
    ...of,
    date: new Date().toISOString(),
    command: args.length === 0 ? 'npm run eval' : `npm run eval -- ${args.join(' ')}`,
    machine: `${cpus().length} cores of ${cpu?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${platform()} ${arch()}; Node ${process.versions.node}, onnxruntime ${versionOf('onnxruntime-node')}; load ${loadavg()[0]!.toFixed(1)} before it began`,
  };
}
