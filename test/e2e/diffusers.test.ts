/**
 * The whole product – command, Worker, object, and the Python stage server with a tiny random model of each family:
 * every preset, and what happens when one of them is killed or the job is cancelled.
 */
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { fetchImage } from '../../scripts/generate/client.ts';
import { keptPort } from '../../scripts/local/ports.ts';
import type { Receipt } from '../../src/billing/receipt.ts';
import { makeTinyModels, type PythonServer, RALU_PYTHON, startStage } from '../contract/python.ts';
import { startGenerate } from './command.ts';
import { makeRig, type Rig, startWatchedJob } from './rig.ts';

/** Model, preset, steps of its stages, and the steps that evaluate the model. */
const PRESETS: readonly (readonly [string, string, readonly number[], readonly number[]])[] = [
  ['flux-dev', 'plain', [50], [50]],
  ['flux-dev', '4x', [5, 6, 7], [5, 6, 7]],
  ['flux-dev', '5x', [4, 5, 6], [4, 5, 6]],
  ['flux-dev', '5x-taylor-3', [4, 5, 6], [3, 4, 4]],
  ['flux-dev', '5x-taylor-2', [4, 5, 6], [3, 3, 4]],
  ['flux-dev', '7x', [2, 3, 5], [2, 3, 5]],
  ['flux-schnell', 'plain', [4], [4]],
  ['flux-schnell', 'few', [1, 1, 2], [1, 1, 2]],
  ['sd3', 'plain', [28], [28]],
  ['sd3', '2x', [5, 6, 9], [5, 6, 9]],
  ['sd3', '3x', [3, 3, 6], [3, 3, 6]],
  ['klein', 'plain', [4], [4]],
  ['klein', 'few', [1, 1, 2], [1, 1, 2]],
];
const MODELS = [...new Set(PRESETS.map(([model]) => model))];
const SIZE = ['--size', '128x128', '--seed', '7'];
/** So many steps that there is time to act. */
const LONG = { prompt: 'a red cat', width: 128, height: 128, preset: 'plain', seed: 7, model: 'tiny-flux-dev' };

describe.skipIf(RALU_PYTHON === undefined)('the Python stage server behind the whole product', () => {
  let folder: string;
  let models: string;
  let port: number;
  let stage: PythonServer;
  let rig: Rig;
  const start = () =>
    startStage(
      MODELS.map((model) => join(models, model)),
      port,
    );
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ralu-diffusers-'));
    models = await makeTinyModels();
    port = await keptPort();
    stage = await start();
    rig = await makeRig({ bundle: inject('bundle'), stage });
    await rig.start();
  });
  afterAll(async () => {
    await rig?.remove();
    await stage?.stop();
    await Promise.all([folder, models].map((each) => rm(each, { recursive: true, force: true })));
  });

  const generate = async (name: string, args: readonly string[]) => {
    const out = join(folder, `${name}.png`);
    const command = startGenerate(['a red cat', ...args, ...SIZE, '--out', out, '--json'], folder);
    const { code, stdout, stderr } = await command.finished;
    expect(code, stderr).toBe(0);
    const { receipt } = JSON.parse(stdout) as { receipt: Receipt };
    const { width, height } = await sharp(await readFile(out)).metadata();
    expect({ width, height }).toEqual({ width: 128, height: 128 });
    return receipt;
  };

  test.each(PRESETS)('generate makes a picture with %s, %s', async (model, preset, steps, evaluations) => {
    const service = ['--url', rig.service.url, '--key', rig.service.key];
    const receipt = await generate(`${model}-${preset}`, [
      ...service,
      ...['--model', `tiny-${model}`, '--preset', preset],
      ...(model === 'sd3' ? ['--guidance', '4.5', '--negative-prompt', 'a dog'] : []),
    ]);
    expect(receipt).toMatchObject({ model: `tiny-${model}`, preset });
    expect(receipt.stages.map((each) => each.steps)).toEqual(steps);
    expect(receipt.stages.map((each) => each.evaluations)).toEqual(evaluations);
  });

  test('generate --stage starts the Worker alone, and leaves the stage server running', async () => {
    const receipt = await generate('external', ['--stage', stage.url, '--stage-token', stage.token]);
    // the first model of the server, and its fastest published preset
    expect(receipt).toMatchObject({ model: 'tiny-flux-dev', preset: '7x' });
    expect((await fetch(`${stage.url}/healthz`)).status).toBe(200);
  });

  describe('a job ends with the same bytes', () => {
    const run = async (kill: () => Promise<void>): Promise<Uint8Array> => {
      const job = await startWatchedJob(rig.service, LONG);
      await job.seen(({ type, data }) => type === 'step' && 'step' in data && data.step === 5);
      await kill();
      expect((await job.events).at(-1)?.type).toBe('done');
      return fetchImage(rig.service, job.id);
    };
    let undisturbed: Uint8Array;
    beforeAll(async () => {
      undisturbed = await run(async () => {});
    });

    test('when the stage server is killed inside a stage and started again', async () => {
      const image = await run(async () => {
        stage.process.kill('SIGKILL');
        await once(stage.process, 'exit');
        stage = await start();
      });
      expect(Buffer.compare(image, undisturbed)).toBe(0);
    });

    test('when everything but the stage server is killed', async () => {
      const image = await run(async () => {
        await rig.kill();
        await rig.start();
      });
      expect(Buffer.compare(image, undisturbed)).toBe(0);
    });
  });

  test('Ctrl-C stops the stage at its next step', async () => {
    const steps = async (): Promise<number> => {
      const headers = { authorization: `Bearer ${stage.token}` };
      const text = await (await fetch(`${stage.url}/metrics`, { headers })).text();
      return Number(/^stage_steps_total\{model="tiny-flux-dev"\} (\S+)$/m.exec(text)?.[1] ?? 0);
    };
    const before = await steps();
    const args = ['a red cat', '--model', 'tiny-flux-dev', '--preset', 'plain', ...SIZE];
    const command = startGenerate([...args, '--url', rig.service.url, '--key', rig.service.key], folder);
    await command.says('steps × tokens');
    command.process.kill('SIGINT');
    expect((await command.finished).code).toBe(130);
    const headers = { authorization: `Bearer ${stage.token}` };
    await expect
      .poll(async () => (await (await fetch(`${stage.url}/healthz`, { headers })).json()) as object, {
        timeout: 10_000,
      })
      .toMatchObject({ status: 'ready', queue: 0 });
    expect((await steps()) - before).toBeLessThan(50);
  });
});
