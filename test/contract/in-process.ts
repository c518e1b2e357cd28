/**
 * A stage server's inside without the server: the bytes of a request are parsed, run and answered by the real container
 * code.
 */
import type { Model } from '../../containers/onnx/model.ts';
import { type EncodeText, runStage, type StageMessage } from '../../containers/onnx/run-stage.ts';
import { parseStage } from '../../containers/onnx/validate.ts';
import type { StageRequest, Tools } from '../../src/job/story.ts';
import { encodeStageRequest } from '../../src/stage/client.ts';
import type { StageDone } from '../../src/stage/contract.ts';

export interface Answer {
  readonly done: StageDone;
  readonly tensors: StageMessage['tensors'];
}

/** The texts of a model, none of them remembered. */
export const encodeAnew =
  (model: Pick<Model, 'encodeText'>): EncodeText =>
  async (prompt) => ({ text: await model.encodeText(prompt), ms: 1 });

/** The `done` message to a stage request. Throws with the server's own sentence when it would be refused. */
export async function answerTo(model: Model, body: Uint8Array): Promise<Answer> {
  const parsed = parseStage(body, new Map([[model.facts.id, model]]));
  if (!parsed.ok) throw new RangeError(parsed.problem.message);
  for await (const { event, tensors } of runStage(parsed.value, encodeAnew(model), new AbortController().signal)) {
    if (event.event === 'done') return { done: event, tensors };
  }
  throw new Error('the stage ended without done');
}

/** A stage request of a job as it was sent. */
export interface Sent {
  readonly request: StageRequest;
  readonly body: Uint8Array;
}

/** The stages of a job on `model`, in this process; `sent` collects their requests. */
export const runStageOn =
  (model: Model, sent: Sent[] = []): Tools['runStage'] =>
  async (request) => {
    const body = encodeStageRequest(request.options, { ...request.tokens, sigmas: request.sigmas });
    sent.push({ request, body });
    const { done, tensors } = await answerTo(model, body);
    const bytes = (name: string) => (tensors[name]?.data as Uint8Array | undefined) ?? null;
    const rgb = bytes('rgb');
    return {
      ok: true,
      result: {
        done,
        latents: (tensors.latents?.data as Float32Array | undefined) ?? null,
        clean: (tensors.clean_latents?.data as Float32Array | undefined) ?? null,
        rgb: rgb && { data: rgb, ...request.rgbSize },
        preview: bytes('preview'),
        image: bytes('image'),
      },
      wallMs: 0,
      attempts: 1,
      engineClass: model.engine,
    };
  };
