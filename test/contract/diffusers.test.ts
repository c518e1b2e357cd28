/** The conformance suite against the Python stage server, with a tiny random model of each family. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, test } from 'vitest';
import { conformance } from './conformance.ts';
import { makeTinyModels, PATIENCE_MS, RALU_PYTHON, startStage } from './python.ts';

const MODELS = ['flux-dev', 'sd3', 'klein'] as const;

if (RALU_PYTHON) {
  let folder = '';
  beforeAll(async () => {
    folder = await makeTinyModels();
  }, PATIENCE_MS);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  for (const model of MODELS)
    conformance(`the Python stage server with a tiny ${model}`, () => startStage([join(folder, model)]));
} else {
  test.skip('the Python stage server: RALU_PYTHON names no Python', () => {});
}
