/**
 * The floating-point work of a job: what its plan comes to, what of it was done, and the plain run it is compared with.
 * Attention is counted unless a name says otherwise. Pure.
 */
import { type FlopFacts, stepFlops } from '../numerics/flops.ts';

/** Work of a run, or of the part of it that was done, floating-point operations. */
export interface Work {
  readonly denoise: number;
  readonly denoiseWithoutAttention: number;
  /** pictures decoded, and the prompt encoded once */
  readonly decode: number;
  readonly text: number;
}

/** One stage of a plan, as far as its work goes. */
export interface StageShape {
  /** 1, 2, …, K */
  readonly stage: number;
  readonly tokens: number;
  /** what is decoded at its end: nothing, the clean estimate, the finished image */
  readonly decode: 'none' | 'clean' | 'image';
}

export interface StageWork extends StageShape {
  /** all its evaluations, with attention and without; a forecast step is no work worth counting */
  readonly flops: number;
  readonly flopsWithoutAttention: number;
}

/** The work of a plan, in the fields in which plans are stored. The last stage has all tokens and decodes the image. */
export interface PlannedWork {
  readonly stages: readonly StageWork[];
  readonly flops: Work & {
    /** denoising of the plain full-resolution run with the model's own number of steps */
    readonly plain: number;
    readonly plainWithoutAttention: number;
  };
}

/** The work of a plan's stages on a model, and of the model's own run of `plainSteps` steps. Throws RangeError. */
export function planWork(
  facts: FlopFacts,
  {
    stages,
    pixels,
    plainSteps,
  }: {
    readonly stages: readonly (StageShape & { readonly evaluations: number })[];
    /** of the finished image */
    readonly pixels: number;
    readonly plainSteps: number;
  },
): PlannedWork {
  const worked = stages.map(({ stage, tokens, decode, evaluations }): StageWork => {
    const step = stepFlops(facts, tokens);
    return {
      stage,
      tokens,
      decode,
      flops: step.total * evaluations,
      flopsWithoutAttention: step.withoutAttention * evaluations,
    };
  });
  const plain = stepFlops(facts, lastOf(stages).tokens);
  return {
    stages: worked,
    flops: {
      denoise: sum(worked.map(({ flops }) => flops)),
      denoiseWithoutAttention: sum(worked.map(({ flopsWithoutAttention }) => flopsWithoutAttention)),
      decode: facts.decode_per_pixel * (pixels * pictures(stages)),
      text: facts.text,
      plain: plain.total * plainSteps,
      plainWithoutAttention: plain.withoutAttention * plainSteps,
    },
  };
}

/**
 * The work of those stages of a plan that were done: their evaluations and pictures, and the text once if there is any.
 * Laws: all stages together are the plan's own figures, to the bit; none is nothing. Throws RangeError for a stage that
 * was never planned.
 */
export function workDone({ stages, flops }: PlannedWork, done: readonly number[]): Work {
  const worked = done.map((number) => {
    const planned = stages.find(({ stage }) => stage === number);
    if (!planned) throw new RangeError(`stage is ${number}; expected one of the ${stages.length} planned`);
    return planned;
  });
  return {
    denoise: sum(worked.map((stage) => stage.flops)),
    denoiseWithoutAttention: sum(worked.map((stage) => stage.flopsWithoutAttention)),
    decode: flops.decode * (pictures(worked) / pictures(stages)),
    text: worked.length > 0 ? flops.text : 0,
  };
}

/** The plain run that a plan is compared with: its steps, one full picture decoded, the text. */
export const plainWork = ({ stages, flops }: PlannedWork): Work => ({
  denoise: flops.plain,
  denoiseWithoutAttention: flops.plainWithoutAttention,
  decode: flops.decode / pictures(stages),
  text: flops.text,
});

/** All of it: denoising, decoding, text. */
export const totalFlops = ({ denoise, decode, text }: Work): number => denoise + decode + text;

/** 10¹² operations, the unit of everything that leaves the house. */
export const tera = (flops: number): number => flops / 1e12;

/** Work beside the plain run's, wire form, TFLOPs. `Ratio` is null where the picture was not finished. */
export interface WorkView<Ratio extends number | null = number> {
  readonly denoise: number;
  readonly denoise_without_attention: number;
  readonly decode: number;
  readonly text: number;
  /** denoise + decode + text */
  readonly total: number;
  /** denoising of the plain full-resolution run */
  readonly plain: number;
  readonly plain_without_attention: number;
  /** all of the plain run: denoising, one full picture decoded, text */
  readonly plain_total: number;
  /** how many times less denoising: plain / denoise */
  readonly ratio: Ratio;
  readonly ratio_without_attention: Ratio;
  /** how many times less work in all: plain_total / total */
  readonly ratio_total: Ratio;
}

/** The work of a whole plan. */
export function viewPlannedWork(planned: PlannedWork): WorkView {
  const work = workDone(
    planned,
    planned.stages.map(({ stage }) => stage),
  );
  const plain = plainWork(planned);
  return {
    ...viewSums(work, plain),
    ratio: plain.denoise / work.denoise,
    ratio_without_attention: plain.denoiseWithoutAttention / work.denoiseWithoutAttention,
    ratio_total: totalFlops(plain) / totalFlops(work),
  };
}

/**
 * The work of the stages that were done. Only a finished picture has ratios: what an unfinished one has saved is not
 * known. Law: with every stage done it is viewPlannedWork.
 */
export function viewWorkDone(planned: PlannedWork, done: readonly number[]): WorkView<number | null> {
  if (planned.stages.every(({ stage }) => done.includes(stage))) return viewPlannedWork(planned);
  return {
    ...viewSums(workDone(planned, done), plainWork(planned)),
    ratio: null,
    ratio_without_attention: null,
    ratio_total: null,
  };
}

const viewSums = (work: Work, plain: Work): Omit<WorkView, 'ratio' | 'ratio_without_attention' | 'ratio_total'> => ({
  denoise: tera(work.denoise),
  denoise_without_attention: tera(work.denoiseWithoutAttention),
  decode: tera(work.decode),
  text: tera(work.text),
  total: tera(totalFlops(work)),
  plain: tera(plain.denoise),
  plain_without_attention: tera(plain.denoiseWithoutAttention),
  plain_total: tera(totalFlops(plain)),
});

/** Pixels that `stages` decode, in full pictures: a clean estimate is decoded at half the image's width and height. */
export const pictures = (stages: readonly StageShape[]): number => sum(stages.map(({ decode }) => PICTURES[decode]));
/** Of a full picture, what a stage decodes at its end. */
export const PICTURES = { none: 0, clean: 1 / 4, image: 1 } as const satisfies Record<StageShape['decode'], number>;

function lastOf(stages: readonly StageShape[]): StageShape {
  const last = stages.at(-1);
  if (!last) throw new RangeError('stages has 0 entries; expected at least one');
  return last;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
