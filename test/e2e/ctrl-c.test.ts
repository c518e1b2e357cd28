/** However `generate` ends, or who holds a deployment, nothing it started outlives it. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { ALL_CORES, type Command, startGenerate } from './command.ts';
import { afterwards, livingIn, makeRig, type Rig, signalGroup } from './rig.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ralu-ctrl-c-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** How long what was started may take to end, milliseconds: other tests want the cores too. */
const PATIENCE_MS = 2000;
/** A plain run of many steps, so that there is time to interrupt it. */
const LONG = ['a red apple', '--size', '256x256', '--preset', 'plain'];
const pidOf = ({ process: { pid } }: Command): number => pid as number;

describe.concurrent('Ctrl-C leaves no process behind', () => {
  const moments: [string, string[], string | null, Record<string, string>?][] = [
    ['while the stack starts', LONG, null],
    ['while a stage runs', LONG, 'steps × tokens'],
    // its threads are workers of their own
    ['while the wasm engine computes', [...LONG, '--engine', 'wasm'], 'steps × tokens', ALL_CORES],
  ];
  test.each(moments)('%s', async (_, args, text, env) => {
    const command = startGenerate(args, folder, env);
    if (text) await command.says(text);
    else while (command.process.exitCode === null && livingIn(pidOf(command)).length < 2) await pause(20);
    command.process.kill('SIGINT');
    const { code, stderr } = await command.finished;
    expect(stderr).toContain('interrupted');
    expect(code).toBe(130);
    expect(await afterwards(pidOf(command), PATIENCE_MS)).toEqual([]);
  });

  test('when the terminal sends it to every process at once, twice', async () => {
    const command = startGenerate(LONG, folder);
    await command.says('steps × tokens');
    signalGroup(pidOf(command), 'SIGINT');
    signalGroup(pidOf(command), 'SIGINT');
    expect((await command.finished).code).toBe(130);
    expect(await afterwards(pidOf(command), PATIENCE_MS)).toEqual([]);
  });

  test('even when the command itself is killed with SIGKILL', async () => {
    const command = startGenerate(LONG, folder);
    await command.says('steps × tokens');
    expect(livingIn(pidOf(command)).length).toBeGreaterThanOrEqual(3);
    command.process.kill('SIGKILL');
    expect((await command.finished).signal).toBe('SIGKILL');
    expect(await afterwards(pidOf(command), PATIENCE_MS)).toEqual([]);
  });
});

describe.concurrent('with a service of its own', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await makeRig({ bundle: inject('bundle') });
    await rig.start();
  });
  afterAll(() => rig?.remove());

  test('Ctrl-C cancels the job there', async () => {
    const { url, key } = rig.service;
    const command = startGenerate([...LONG, '--url', url, '--key', key], folder);
    await command.says('steps × tokens');
    command.process.kill('SIGINT');
    expect((await command.finished).code).toBe(130);
    const ended = rig.log.filter((line) => line.includes('job_ended'));
    expect(ended).toHaveLength(1);
    expect(ended[0]).toContain('cancelled');
  });
});

test('a deployment ends with the process that holds it, also where that is killed with SIGKILL', async () => {
  const file = join(folder, 'bundle.json');
  await writeFile(file, JSON.stringify(inject('bundle')));
  const holder = spawn(process.execPath, [join(import.meta.dirname, 'holder.ts'), file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ready = (await once(createInterface({ input: holder.stdout }), 'line')) as [string];
  const state = (JSON.parse(ready[0]) as { folder: string }).folder;
  const table = execFileSync('ps', ['-A', '-o', 'ppid=,pgid='], { encoding: 'utf8' });
  const rows = table.split('\n').map((row) => row.trim().split(/\s+/));
  const [, group] = rows.find(([parent]) => parent === String(holder.pid)) as [string, string];
  // the stack, its guard and workerd
  expect(livingIn(Number(group)).length).toBeGreaterThanOrEqual(3);
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  const left = await afterwards(Number(group), PATIENCE_MS);
  signalGroup(Number(group), 'SIGKILL');
  expect(left).toEqual([]);
  await rm(dirname(state), { recursive: true, force: true });
});
