/** Runs of the evaluation on a model in this process. */
import type { Model } from '../../containers/onnx/model.ts';
import { encodeStageRequest } from '../../src/stage/client.ts';
import type { StageOptions } from '../../src/stage/contract.ts';
import { answerTo } from '../../test/contract/in-process.ts';
import type { Run } from '../eval/denoiser.ts';

/** `asked` collects the requests' tokens and steps. */
export function runOn(model: Model, asked: { tokens: number; steps: number }[] = []): Run {
  return async (job, { tokens, sigmas, solver, clean, picture }) => {
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
      solver,
      clean_latents: clean,
    };
    asked.push({ tokens: tokens.scale.length, steps: sigmas.length - 1 });
    const { done, tensors } = await answerTo(model, encodeStageRequest(options, { ...tokens, sigmas }));
    const side = tokens.scale.includes(1) ? 1 : 2;
    return {
      latents: tensors.latents!.data as Float32Array,
      clean: clean ? (tensors.clean_latents!.data as Float32Array) : null,
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
