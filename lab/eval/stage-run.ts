/** Stage requests of the evaluation, sent to a real stage server as the job object sends its own. */
import {
  connectStageServer,
  encodeStageRequest,
  type StageFailure,
  type StageOutcome,
  stageId,
} from '../../src/stage/client.ts';
import type { ModelFacts, StageOptions } from '../../src/stage/contract.ts';
import type { Run } from './denoiser.ts';

/** A stage of 50 full-size steps on a slow machine stays far below these. */
const TIMEOUT_MS = 30 * 60_000;
const SILENCE_MS = 5 * 60_000;

/** The evaluation's requests carry one trace: nothing follows it. */
const TRACE = '00-00000000000000000000000000000001-0000000000000001-00';

/** A stage request that came to nothing, with the evidence. */
export class StageRunError extends Error {
  override name = 'StageRunError';
  readonly failure: StageFailure;
  constructor(failure: StageFailure) {
    super(`the stage server gave no result: ${JSON.stringify(failure)}`);
    this.failure = failure;
  }
}

/** The stage server at `url`: its models, and runs on one of them. */
export function stageAt({ url, token }: { readonly url: string; readonly token: string }): {
  readonly models: () => Promise<readonly ModelFacts[]>;
  readonly runOn: (facts: ModelFacts) => Run;
} {
  const stage = connectStageServer({ fetcher: fetch, url, token });
  let requests = 0;
  return {
    models: async () => (await stage.models()).models,
    runOn:
      (facts) =>
      async (job, { tokens, sigmas, solver, clean, picture }) => {
        const options: StageOptions = {
          model: facts.id,
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
          traceparent: TRACE,
          ...(solver !== 'euler' && { solver }),
          ...(clean && { clean_latents: true }),
        };
        const body = encodeStageRequest(options, { ...tokens, sigmas });
        const side = tokens.scale.includes(1) ? 1 : 2;
        requests += 1;
        // a kept result would be timed as free: every request has an id of its own
        const id = await stageId(`evaluation-${process.pid}-${requests}`, 1, body);
        const outcome: StageOutcome = await stage.run({
          id,
          body,
          options,
          numTokens: tokens.scale.length,
          numValues: 4 * facts.channels,
          steps: sigmas.length - 1,
          evaluations: sigmas.length - 1,
          rgbSize: { width: job.width / side, height: job.height / side },
          signal: new AbortController().signal,
          timeoutMs: TIMEOUT_MS,
          silenceMs: SILENCE_MS,
          lineMs: TIMEOUT_MS,
          onProgress: () => undefined,
        });
        // nobody asks again, and the server would keep it for ten minutes
        await stage.cancel(id);
        if (!outcome.ok) throw new StageRunError(outcome.failure);
        const { done, latents, clean: cleanLatents, rgb } = outcome.result;
        if (done.model_digest !== facts.digest)
          throw new Error(`the stage server now has model ${done.model_digest}; expected ${facts.digest}`);
        if (!latents) throw new Error('a stage that ends in latents brought none');
        return {
          latents,
          clean: cleanLatents,
          picture: rgb,
          computeMs: done.compute_ms,
          textMs: done.encode_text_ms,
          decodeMs: done.decode_ms,
          warnings: done.warnings,
        };
      },
  };
}
