/**
 * A stage server for tests in which the picture is not the subject: the closed-form model under the embedded model's
 * facts, so that sizes, plans and ratios are those of a real job, at a pace that no machine changes.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { EncodedText, Model } from '../../containers/onnx/model.ts';
import { CLOSED_FORM_FACTS, closedFormModel } from '../../scripts/local/closed-form-model.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { type ServerOptions, startServer } from './start.ts';

const MODELS = join(import.meta.dirname, '../../models');

/** Two of those that the embedded model's server finds in its files. */
const EMOJI = { '🍎': 'apple', '🍏': 'green apple' };
const STEP_MS = 5;
const DECODE_MS = 15;
/**
 * A stage of more steps is there to be interrupted: from here on each takes half a millisecond for every step before
 * it, so that a thousand take minutes.
 */
const PATIENT_STEPS = 100;
/** The picture of a prompt with the word `slow` in it takes so long that something can happen meanwhile. */
const SLOW_DECODE_MS = 500;

function embeddedFacts(): ModelFacts {
  const [name] = readdirSync(MODELS);
  return JSON.parse(readFileSync(join(MODELS, name as string, 'manifest.json'), 'utf8')).facts;
}

/** The closed form, each step and each picture after the time it takes. */
function pacedModel(stepMs: number): Model {
  const { id, digest, licence, card } = CLOSED_FORM_FACTS;
  const { model } = closedFormModel({ facts: { ...embeddedFacts(), emoji: EMOJI, id, digest, licence, card } });
  const slow = new WeakSet<EncodedText>();
  // one stage of a model computes at a time, and sigma falls inside it
  let steps = 0;
  let lastSigma = 0;
  let isSlow = false;
  return {
    ...model,
    async encodeText(prompt) {
      const text = await model.encodeText(prompt);
      if (/\bslow\b/.test(prompt)) slow.add(text);
      return text;
    },
    async velocity(input) {
      steps = input.sigma < lastSigma ? steps + 1 : 0;
      lastSigma = input.sigma;
      isSlow = slow.has(input.text);
      await pause(steps < PATIENT_STEPS ? stepMs : steps / 2);
      return model.velocity(input);
    },
    async decode(latents, rows, cols) {
      await pause(isSlow ? SLOW_DECODE_MS : DECODE_MS);
      return model.decode(latents, rows, cols);
    },
  };
}

/** The server in this process, a step of it taking `stepMs`; its queue is its own. */
export const startPacedServer = ({
  stepMs = STEP_MS,
  ...options
}: { readonly stepMs?: number } & ServerOptions = {}): ReturnType<typeof startServer> =>
  startServer([pacedModel(stepMs)], options);
