/** What a share of a finished picture is, and what it shows of its job: nothing of whose it is or its price. Pure. */
import { cutText } from './cut-text.ts';
import type { JobEvent, Picture } from './events.ts';
import type { ImageView, JobRecord, JobView } from './job.ts';

/** A link that shows a picture to whoever has it. Times are milliseconds since 1970. */
export interface Share {
  readonly id: string;
  readonly createdAt: number;
  readonly expiresAt: number;
}

/** A share to be made. */
export interface NewShare extends Pick<Share, 'id'> {
  /** how long it is to open; it ends with its picture at the latest */
  readonly ms: number;
}

/** Most shares of one picture that open at a time. */
export const MAX_SHARES = 16;

/** What came of a share: it is there, or why not. */
export type ShareTaken =
  | { readonly kind: 'shared'; readonly share: Share }
  | { readonly kind: 'no_job' }
  | { readonly kind: 'no_image'; readonly status: JobView['status'] }
  | { readonly kind: 'too_many' };

/** Pictures on the way to the finished one: that of a stage, by its number, and the two overlays of the first. */
export type SharedPicture = number | 'edges' | 'blocks';

/** What whoever has the link sees. */
export interface SharedJob {
  readonly prompt: string;
  readonly model: string;
  readonly seed: number;
  /** null: a schedule of the caller's own */
  readonly preset: string | null;
  readonly image: Pick<ImageView, 'format' | 'width' | 'height'>;
  readonly stages: readonly {
    readonly stage: number;
    readonly tokens: number;
    readonly steps: number;
    /** of denoising, as its server measured it */
    readonly ms: number;
    /** whether there is a picture of it; that of the last stage is the finished one */
    readonly hasPicture: boolean;
  }[];
  /** tokens that went to full resolution early, of all tokens of the first stage; null where it has no pictures */
  readonly selection: { readonly chosen: number; readonly of: number } | null;
  /** of denoising, calculated: 10¹² operations, and how many times less than the plain model */
  readonly work: { readonly tflops: number; readonly ratio: number | null };
}

/** Longest part of a prompt that is shown. */
const MAX_PROMPT = 1000;

/** The share that a job has from now on. */
export const shareOf = ({ id, ms }: NewShare, expiresAt: number, now: number): Share => ({
  id,
  createdAt: now,
  expiresAt: Math.min(now + ms, expiresAt),
});

/** What a share shows of a job, told with the events that have pictures; null where the job has none to show. */
export function viewShared(
  { request, plan, image, receipt }: JobRecord,
  events: readonly JobEvent[],
): SharedJob | null {
  if (!image || !receipt) return null;
  const { prompt, model, seed, schedule } = request;
  const withPicture = events.flatMap((event) => (event.type === 'preview' ? [event.data.stage] : []));
  const selection = events.find((event) => event.type === 'selection')?.data;
  return {
    prompt: cutText(prompt, MAX_PROMPT),
    model,
    seed,
    preset: schedule.preset,
    image: { format: image.format, width: image.width, height: image.height },
    stages: receipt.stages.map(({ stage, tokens, steps, compute_ms }) => ({
      stage,
      tokens,
      steps,
      ms: compute_ms,
      hasPicture: stage === plan.stages.length || withPicture.includes(stage),
    })),
    selection:
      selection?.edges && withPicture.includes(1)
        ? { chosen: selection.indices.length, of: selection.rows * selection.cols }
        : null,
    work: { tflops: receipt.tflops.denoise, ratio: receipt.tflops.ratio },
  };
}

/** The picture of that name among events; null where there is none. */
export function pictureIn(events: readonly JobEvent[], name: SharedPicture): Picture | null {
  for (const event of events) {
    if (event.type === 'preview' && event.data.stage === name) return event.data;
    if (event.type === 'selection' && name === 'edges') return event.data.edges;
    if (event.type === 'selection' && name === 'blocks') return event.data.blocks;
  }
  return null;
}
