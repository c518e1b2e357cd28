/**
 * The story of a job, top to bottom: stage1 → select → stage2 → … → done.
 *
 * A room is a function of the stored job, its seed and the stage server alone. It returns the next job with what to
 * tell the watchers; whoever walks the rooms saves both in one transaction. Walking a room twice gives the same job, so
 * a crash anywhere costs time and nothing else.
 */
import { toHex } from '../account/hmac.ts';
import type { StageUsage } from '../billing/receipt.ts';
import { rankPicture, selectAtBoundaries } from '../numerics/early.ts';
import type { Tokens } from '../numerics/tokens.ts';
import type { Behind, StageOutcome, StageResult } from '../stage/client.ts';
import type { StageOptions } from '../stage/contract.ts';
import { toBase64 } from './base64.ts';
import { firstTokens, nextTokens } from './boundary.ts';
import type { JobEvent, Picture } from './events.ts';
import type { StageFault } from './failures.ts';
import type { Job, JobRequest, PlannedStage, Room, StoredImage } from './job.ts';
import { drawBlocks, drawEdges } from './pictures.ts';
import { selectByLatents, selectionOf } from './selection.ts';

/** Longest side of a stage preview, pixels: small enough to travel inside an event. */
const PREVIEW_SIDE = 512;

/** Of the finished picture, as a list shows it on a fine screen: longest side, pixels, and its format. */
const THUMBNAIL = { format: 'webp', longest_side: 104 } as const;
/** Largest that is kept with the job, bytes. Nearly all have a tenth of it. */
const MAX_THUMBNAIL_BYTES = 16 * 1024;

/** What a stage asks of a stage server. The same job gives the same request, whoever sends it and however often. */
export interface StageRequest {
  readonly stage: PlannedStage;
  readonly tokens: Tokens;
  /** [N + 1] as they travel */
  readonly sigmas: Float32Array;
  readonly options: StageOptions;
  /** pixels of the clean estimate this stage would decode: half the image where all its tokens are low */
  readonly rgbSize: { readonly width: number; readonly height: number };
}

export interface Tools {
  /** sends the request to a stage server and waits for its outcome */
  readonly runStage: (request: StageRequest) => Promise<Ran>;
  /** milliseconds, for measuring only */
  readonly clock: () => number;
}

/** What came of a request: a result with the time it took and the attempts it needed, or why there is none. */
export type Ran =
  | (Extract<StageOutcome, { ok: true }> & {
      readonly wallMs: number;
      readonly attempts: number;
      /** what the server stated before; null where it states none */
      readonly engineClass: string | null;
    })
  | { readonly ok: false; readonly failure: StageFault };

/**
 * What a room hands back: the job after it and its events, with the finished image from the last room, and the picture
 * that is still to come; or why the stage server gave no result.
 */
export type Step =
  | {
      readonly ok: true;
      readonly job: Job;
      readonly events: readonly JobEvent[];
      readonly image: Uint8Array | null;
      /** the finished image once more, small; null where there is none to keep */
      readonly thumbnail: StoredImage['thumbnail'] | null;
      /** the picture of a stage that follows its result; null where none follows. It never rejects */
      readonly behind: Promise<LatePicture | null> | null;
    }
  | { readonly ok: false; readonly failure: StageFault };

/** A picture that followed its stage's result, and the milliseconds that the server spent on it since. */
export interface LatePicture {
  readonly event: JobEvent;
  readonly decodeMs: number;
  readonly encodeMs: number;
}

/** The room's name on the wire: `stage1`, `select`, `done`, … */
export const roomName = (room: Room): string => (room.name === 'stage' ? `stage${room.stage}` : room.name);

/** Whether nothing follows this room. */
export const isLastRoom = (room: Room): boolean =>
  room.name === 'done' || room.name === 'failed' || room.name === 'cancelled';

/** Every job begins here. */
export const FIRST_ROOM: Room = { name: 'stage', stage: 1 };

/** Walks the room the job stands in. Throws when it stands in a last one. */
export async function walkRoom(job: Job, tools: Tools): Promise<Step> {
  switch (job.room.name) {
    case 'stage':
      return walkStage(job, job.room.stage, tools);
    case 'select':
      return walkSelect(job, tools);
    case 'done':
    case 'failed':
    case 'cancelled':
      throw new Error(`job ${job.id} has left its rooms: ${job.room.name}`);
  }
}

/**
 * stage k: latents in, N_k steps at the stage server, latents (or the image) out. Not `async`, so that nothing here
 * holds latents while the stage runs.
 */
function walkStage(job: Job, number: number, tools: Tools): Promise<Step> {
  const light = { ...job, tokens: null, rgb: null };
  return stageRequest(job, number).then((request) => {
    const { tokens, sigmas: _, ...asked } = request;
    const places = { imgIds: tokens.imgIds, scale: tokens.scale };
    return tools.runStage(request).then((outcome) => afterStage(light, { ...asked, ...places }, outcome, tools));
  });
}

/** What is kept of a request while it runs. */
type Asked = Omit<StageRequest, 'tokens' | 'sigmas'> & Omit<Tokens, 'latents'>;

/** What came of a stage: the job after it, or why there is none. */
function afterStage(job: Job, request: Asked, outcome: Ran, tools: Tools): Step {
  if (!outcome.ok) return outcome;
  const { result } = outcome;
  if (result.done.model_digest !== job.plan.model.digest) {
    return {
      ok: false,
      failure: {
        reason: 'reported',
        code: 'model_changed',
        message: `the stage server now has model ${result.done.model_digest}, the job was planned for ${job.plan.model.digest}`,
        retryable: false,
      },
    };
  }
  const { stage, imgIds, scale } = request;
  const number = stage.stage;
  const { done } = result;
  const engine = boundEngine(job.request, job.usage);
  if (engine !== null && done.engine !== engine) {
    const message = `the stage ran on ${done.engine}, the job began on ${engine}`;
    return { ok: false, failure: { reason: 'reported', code: 'engine_changed', message, retryable: true } };
  }
  const usage = {
    stage: number,
    tokens: stage.tokens,
    steps: done.steps_done,
    evaluations: done.evaluations ?? done.steps_done,
    attempts: outcome.attempts,
    computeMs: done.compute_ms,
    decodeMs: done.decode_ms,
    encodeMs: done.encode_ms,
    wallMs: outcome.wallMs,
    textTokens: done.text_tokens ?? null,
    engine: done.engine,
    engineClass: outcome.engineClass,
    warnings: done.warnings,
  };
  const room = roomAfterStage(job, number);
  const found = number === 1 && room.name === 'stage' ? selectWithoutPicture(job, request, result, tools) : null;
  const next: Job = {
    ...job,
    room,
    selections: found?.selections ?? job.selections,
    tokens: result.latents && { latents: result.latents, imgIds, scale },
    rgb: result.rgb,
    usage: [...job.usage, usage],
  };
  return {
    ok: true,
    job: next,
    events: [
      ...(result.preview && !result.image ? [previewEvent(request, result.preview)] : []),
      ...(found?.events ?? []),
    ],
    image: result.image,
    thumbnail: result.image && thumbnailOf(result.preview),
    behind: result.behind?.then((late) => late && latePicture(request, late)) ?? null,
  };
}

/**
 * The engine class that the stages of a job have to run on: the one it began on. Null where every class will do:
 * nothing has run, a change is allowed, or it began on a server of the contract's first version, which states no class.
 */
export function boundEngine(
  { allowEngineChange }: Pick<JobRequest, 'allowEngineChange'>,
  [first]: readonly StageUsage[],
): string | null {
  return allowEngineChange ? null : (first?.engineClass ?? null);
}

function roomAfterStage({ plan, request }: Job, number: number): Room {
  if (number === plan.stages.length) return { name: 'done' };
  return number === 1 && selectionOf(request, plan) === 'canny'
    ? { name: 'select' }
    : { name: 'stage', stage: number + 1 };
}

/**
 * The tokens that go early where no edges are looked for: those the clean latents of stage 1 tell, or none. Null where
 * the plan has no boundary to select at. It takes no time worth a room, so it is saved together with the stage.
 */
function selectWithoutPicture(
  { plan, request }: Job,
  { rgbSize }: Asked,
  { clean }: StageResult,
  { clock }: Tools,
): { readonly selections: NonNullable<Job['selections']>; readonly events: readonly JobEvent[] } | null {
  if (plan.selected.length === 0) return null;
  if (selectionOf(request, plan) === 'none') return { selections: plan.selected.map(() => []), events: [] };
  if (!clean) throw new Error('the stage before a selection by latents brought no clean latents');
  const begin = clock();
  const selections = selectByLatents(clean, plan);
  const ms = clock() - begin;
  const indices = selections[0] ?? [];
  const blocks = picture('png', rgbSize, drawBlocks(indices, rgbSize, plan.model.token_pixels));
  const event: JobEvent = {
    type: 'selection',
    data: { rows: plan.rows / 2, cols: plan.cols / 2, indices, edge_pixels: null, ms, edges: null, blocks },
  };
  return { selections, events: [event] };
}

function previewEvent(
  { stage, options, rgbSize: { width, height } }: Asked,
  preview: Uint8Array,
): Extract<JobEvent, { type: 'preview' }> {
  if (!options.preview) throw new Error(`a preview of stage ${stage.stage}, which was asked for none`);
  const shrink = Math.min(1, PREVIEW_SIDE / Math.max(width, height));
  const size = { width: Math.round(width * shrink), height: Math.round(height * shrink) };
  return { type: 'preview', data: { stage: stage.stage, ...picture(options.preview.format, size, preview) } };
}

const thumbnailOf = (bytes: Uint8Array | null): NonNullable<StoredImage['thumbnail']> | null =>
  bytes && bytes.length <= MAX_THUMBNAIL_BYTES ? { format: THUMBNAIL.format, b64_json: toBase64(bytes) } : null;

const latePicture = (request: Asked, { preview, decodeMs, encodeMs }: Behind): LatePicture => ({
  event: previewEvent(request, preview),
  decodeMs,
  encodeMs,
});

const picture = (
  format: Picture['format'],
  { width, height }: { readonly width: number; readonly height: number },
  bytes: Uint8Array,
): Picture => ({
  format,
  width,
  height,
  b64_json: toBase64(bytes),
});

/**
 * The request of stage k: what goes in is the noise (k = 1) or the tokens of the stage before, upsampled and renoised.
 */
async function stageRequest(job: Job, number: number): Promise<StageRequest> {
  const { plan, request } = job;
  const stage = plan.stages[number - 1];
  if (!stage) throw new RangeError(`stage ${number} of ${plan.stages.length}`);
  const isSearched = roomAfterStage(job, number).name === 'select';
  const isPreviewed = stage.decode === 'clean' && number <= request.previews.count;
  const tokens = number === 1 ? firstTokens(plan, request.seed) : tokensAfterBoundary(job, stage);
  const options: StageOptions = {
    model: plan.model.id,
    prompt: request.prompt,
    negative_prompt: request.negativePrompt,
    guidance: request.guidance,
    width: request.width,
    height: request.height,
    decode: stage.decode,
    rgb: isSearched,
    format: request.format,
    quality: request.quality,
    preview: previewOf(stage, isPreviewed, request),
    cache: request.schedule.cache,
    traceparent: await traceparent(job.id, number),
    // absent is euler, and then the request is one that every server takes
    ...(request.solver !== 'euler' && { solver: request.solver }),
    ...(number === 1 && selectionOf(request, plan) === 'latent' && { clean_latents: true }),
    ...(stage.decode === 'image' && request.enlarge && { enlarge: request.enlarge }),
    // the next stage does not wait for a picture that nobody computes with; of one that is, little is left to do
    ...(isPreviewed && !isSearched && { late_preview: true }),
  };
  const side = tokens.scale.includes(1) ? 1 : 2;
  return {
    stage,
    tokens,
    sigmas: Float32Array.from(stage.sigmas),
    options,
    rgbSize: { width: request.width / side, height: request.height / side },
  };
}

/** The small picture that a stage is asked for: of the last one a thumbnail of what it finishes. */
function previewOf(stage: PlannedStage, isPreviewed: boolean, { previews }: JobRequest): StageOptions['preview'] {
  if (stage.decode === 'image') return THUMBNAIL;
  return isPreviewed ? { format: previews.format, longest_side: PREVIEW_SIDE } : null;
}

/** W3C trace context of a stage, a function of job and stage: a repeated request must have the same bytes. */
async function traceparent(jobId: string, stage: number): Promise<string> {
  const digest = async (text: string): Promise<string> =>
    toHex(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
  return `00-${(await digest(jobId)).slice(0, 32)}-${(await digest(`${jobId}.${stage}`)).slice(0, 16)}-01`;
}

/** The tokens of the stage before, upsampled where they were selected and renoised. */
function tokensAfterBoundary({ id, plan, request, tokens, selections }: Job, stage: PlannedStage): Tokens {
  if (!tokens) throw new Error(`job ${id} has no tokens to begin stage ${stage.stage} with`);
  return nextTokens(
    plan,
    stage,
    { tokens, selections },
    { seed: request.seed, mode: request.upsampling, referenceVariance: request.reference },
  );
}

/**
 * select: grey → Canny → edge pixels in each block → the tokens that go early, for every boundary at once. Only indices
 * leave the room.
 */
async function walkSelect(job: Job, { clock }: Tools): Promise<Step> {
  const { rgb, plan, request } = job;
  if (!rgb) throw new Error(`job ${job.id} has no picture to select on`);
  const begin = clock();
  const block = plan.model.token_pixels;
  const { edges, ranking } = rankPicture(rgb, { block, isClipped: request.reference });
  const selections = selectAtBoundaries(ranking, plan.selected).map((chosen) => Array.from(chosen));
  const ms = clock() - begin;
  const size = { width: rgb.width, height: rgb.height };
  const first = selections[0] ?? [];
  const event: JobEvent = {
    type: 'selection',
    data: {
      rows: plan.rows / 2,
      cols: plan.cols / 2,
      indices: first,
      edge_pixels: edges.reduce((count, value) => count + (value ? 1 : 0), 0),
      ms,
      edges: picture('png', size, drawEdges(edges, size)),
      blocks: picture('png', size, drawBlocks(first, size, block)),
    },
  };
  return {
    ok: true,
    job: { ...job, room: { name: 'stage', stage: 2 }, rgb: null, selections },
    events: [event],
    image: null,
    thumbnail: null,
    behind: null,
  };
}
