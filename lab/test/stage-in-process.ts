/**
 * A stage server's inside without the server: the bytes of a request are parsed, run and answered by the real container
 * code, on the closed-form model.
 */
import type { Model } from '../../containers/onnx/model.ts';
import { runStage, type StageMessage } from '../../containers/onnx/run-stage.ts';
import { parseStage } from '../../containers/onnx/validate.ts';
import { encodeStageRequest } from '../../src/stage/client.ts';
import type { StageDone, StageOptions } from '../../src/stage/contract.ts';
import type { Run } from '../eval/denoiser.ts';

export interface Answer {
  readonly done: StageDone;
  readonly tensors: StageMessage['tensors'];
}

/** The `done` message to a stage request. Throws with the server's own sentence when it would be refused. */
export async function answerTo(model: Model, body: Uint8Array): Promise<Answer> {
  const parsed = parseStage(body, new Map([[model.facts.id, model]]));
  if (!parsed.ok) throw new RangeError(parsed.problem.message);
  for await (const { event, tensors } of runStage(
    parsed.value,
    (prompt) => model.encodeText(prompt),
    new AbortController().signal,
  )) {
    if (event.event === 'done') return { done: event, tensors };
  }
  throw new Error('the stage ended without done');
}

/** Runs of the evaluation on that model; `asked` collects the requests' tokens and steps. */
export function runOn(model: Model, asked: { tokens: number; steps: number }[] = []): Run {
  return async (job, { tokens, sigmas, picture }) => {
    const options: StageOptions = {
      model: model.facts.id,
      prompt: job.prompt,
      negative_prompt: '',
      guidance: null,
      width: job.width,
      height: job.height,
      decode: picture ? 'clean' : 'none',
      rgb: picture,
      format: 'png',
      quality: 100,
      preview: null,
      cache: null,
      traceparent: '',
    };
    asked.push({ tokens: tokens.scale.length, steps: sigmas.length - 1 });
    const { done, tensors } = await answerTo(model, encodeStageRequest(options, { ...tokens, sigmas }));
    const side = tokens.scale.includes(1) ? 1 : 2;
    return {
      latents: tensors.latents!.data as Float32Array,
      picture: picture
        ? { data: tensors.rgb!.data as Uint8Array, width: job.width / side, height: job.height / side }
        : null,
      computeMs: done.compute_ms,
      textMs: done.encode_text_ms,
      decodeMs: done.decode_ms,
      warnings: done.warnings,
    };
  };
}
