/**
 * A stage server's inside without the server: the bytes of a request are parsed, run and answered by the real container
 * code.
 */
import type { Model } from '../../containers/onnx/model.ts';
import { type EncodeText, runStage, type StageMessage } from '../../containers/onnx/run-stage.ts';
import { parseStage } from '../../containers/onnx/validate.ts';
import type { StageRequest, Tools } from '../../src/job/story.ts';
import { type Behind, encodeStageRequest } from '../../src/stage/client.ts';
import type { StageDone } from '../../src/stage/contract.ts';

export interface Answer {
  readonly done: StageDone;
  readonly tensors: StageMessage['tensors'];
  /** the late preview, where one was asked for */
  readonly behind: Behind | null;
}

/** The texts of a model, none of them remembered. */
export const encodeAnew =
  (model: Pick<Model, 'encodeText'>): EncodeText =>
  async (prompt) => ({ text: await model.encodeText(prompt), ms: 1 });

/**
 * The `done` message to a stage request, and what follows it. Throws with the server's own sentence when it would be
 * refused.
 */
export async function answerTo(model: Model, body: Uint8Array): Promise<Answer> {
  const parsed = parseStage(body, new Map([[model.facts.id, model]]));
  if (!parsed.ok) throw new RangeError(parsed.problem.message);
  let answer: Answer | null = null;
  for await (const { event, tensors } of runStage(parsed.value, encodeAnew(model), new AbortController().signal)) {
    if (event.event === 'done') answer = { done: event, tensors, behind: null };
    if (event.event !== 'preview' || !answer) continue;
    const { decode_ms: decodeMs, encode_ms: encodeMs } = event;
    answer = { ...answer, behind: { preview: tensors.preview?.data as Uint8Array, decodeMs, encodeMs } };
  }
  if (!answer) throw new Error('the stage ended without done');
  return answer;
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
    const { done, tensors, behind } = await answerTo(model, body);
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
        behind: behind && Promise.resolve(behind),
      },
      wallMs: 0,
      attempts: 1,
      engineClass: model.engine,
    };
  };
