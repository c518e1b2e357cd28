/**
 * The evaluation's requests against the real stage server with the embedded model: the same pictures as from the same
 * model in this process.
 */
import { availableParallelism } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel } from '../../containers/onnx/load-model.ts';
import type { Model } from '../../containers/onnx/model.ts';
import { keptPort } from '../../scripts/local/ports.ts';
import { startStage } from '../../scripts/local/stage.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { type Job, makeDenoiser, type Pixels, type Run } from '../eval/denoiser.ts';
import { plain } from '../eval/samplers/plain.ts';
import { planFor, ralu } from '../eval/samplers/ralu.ts';
import { presetSchedule } from '../eval/schedules.ts';
import { StageRunError, stageAt } from '../eval/stage-run.ts';
import { runOn } from './stage-in-process.ts';

const MODELS = new URL('../../models', import.meta.url).pathname;
const TOKEN = 'a-token-of-the-test';

describe('the stage server', () => {
  let server: ReturnType<typeof startStage>;
  let stage: ReturnType<typeof stageAt>;
  let facts: ModelFacts;
  let model: Model;

  beforeAll(async () => {
    server = startStage({ engine: 'native', port: await keptPort(), token: TOKEN });
    stage = stageAt({ url: await server.ready, token: TOKEN });
    [facts] = (await stage.models()) as [ModelFacts];
    model = await loadModel({ dir: MODELS, engine: 'native', threads: availableParallelism() });
  });
  afterAll(async () => {
    await model?.close();
    await server?.child.stop();
  });

  it.each([
    { width: 256, height: 256 },
    { width: 128, height: 256 },
  ])('gives the picture that the model gives, $width x $height, and tells what it took', async (size) => {
    const schedule = presetSchedule(facts, '7x');
    const job: Job = { prompt: 'a red apple on a blue background', seed: 2, ...size };
    const pictureOf = async (
      run: Run,
    ): Promise<{ picture: Pixels; spent: ReturnType<typeof makeDenoiser>['spent'] }> => {
      const denoiser = makeDenoiser(facts, job, run);
      const picture = await denoiser.decode(await ralu({ schedule })(denoiser));
      return { picture, spent: denoiser.spent };
    };
    const { picture, spent } = await pictureOf(stage.runOn(facts));
    expect(picture).toEqual((await pictureOf(runOn(model))).picture);
    expect(picture).toMatchObject(size);
    const { flops } = planFor(facts, size, schedule);
    expect(spent).toMatchObject({ denoiseFlops: flops.denoise, decodeFlops: flops.decode, warnings: [] });
    expect(spent.computeMs).toBeGreaterThan(0);
    expect(spent.decodeMs).toBeGreaterThan(0);
  });

  it('refuses what the model cannot, and the evaluation says so', async () => {
    const denoiser = makeDenoiser(facts, { prompt: 'a fox', seed: 1, width: 192, height: 192 }, stage.runOn(facts));
    await expect(plain({ steps: 2 })(denoiser)).rejects.toThrow(StageRunError);
  });

  it('is not taken for another model than was asked about', async () => {
    const other = { ...facts, digest: '0'.repeat(64) };
    const denoiser = makeDenoiser(other, { prompt: 'a fox', seed: 1, width: 256, height: 256 }, stage.runOn(other));
    await expect(ralu({ schedule: presetSchedule(facts, '7x') })(denoiser)).rejects.toThrow(facts.digest);
  });
});
