/**
 * RALU as the project ships it: the plan, the transitions between the stages and the selection are the job's own. Here
 * is only what research varies. Law: without options that depart from the product, the picture is the very one the
 * job's story makes.
 */
import { firstTokens, nextTokens } from '../../../src/job/boundary.ts';
import type { Plan, ScheduleRequest, Upsampling } from '../../../src/job/job.ts';
import { makePlan } from '../../../src/job/plan.ts';
import type { Solver } from '../../../src/numerics/adams-bashforth.ts';
import { rankPicture, selectAtBoundaries } from '../../../src/numerics/early.ts';
import { cleanEstimate } from '../../../src/numerics/flow.ts';
import { standardNormals } from '../../../src/numerics/normal.ts';
import { latentScores, rankTokens } from '../../../src/numerics/select.ts';
import { type Tokens, unpackLatents } from '../../../src/numerics/tokens.ts';
import type { ModelFacts } from '../../../src/stage/contract.ts';
import type { Denoiser, Job, Pixels } from '../denoiser.ts';
import type { Sampler } from '../sampler.ts';
import { type StartStage, walkStage } from './advance.ts';
import { canvasOf } from './canvas.ts';
import { taylorSteps } from './taylor.ts';

/**
 * What decides which tokens go early: edges of the decoded picture or detail of the clean latents (the product's), the
 * latents' gradient, or chance.
 */
export type Selection = 'canny' | 'latent' | 'sobel' | 'random';

export interface RaluOptions {
  readonly schedule: ScheduleRequest;
  readonly mode?: Upsampling;
  /** unit variance for the values that are not upsampled */
  readonly referenceVariance?: boolean;
  /** the reference's clipped Canny input */
  readonly referenceGrey?: boolean;
  readonly selection?: Selection;
  /** decodes the clean estimate after every stage but the last, as a job with all its previews does */
  readonly previews?: boolean;
  readonly solver?: Solver;
}

/** The product's own choices that a plan depends on. */
export interface PlanOptions {
  readonly solver?: Solver;
  readonly selection?: 'canny' | 'latent';
}

/** The job object's plan for this schedule. Throws RangeError where the product would refuse it. */
export function planFor(
  facts: ModelFacts,
  { width, height }: Pick<Job, 'width' | 'height'>,
  schedule: ScheduleRequest,
  { solver = 'euler', selection = 'canny' }: PlanOptions = {},
): Plan {
  const request = {
    model: facts.id,
    prompt: '',
    negativePrompt: '',
    guidance: null,
    width,
    height,
    seed: 0,
    schedule,
    solver,
    selection,
    upsampling: 'latent' as const,
    reference: false,
    format: 'png' as const,
    quality: 100,
    isOwnSchedule: false,
    allowEngineChange: false,
    previews: { count: 0, format: 'webp' as const },
  };
  const plan = makePlan(request, facts, new Map());
  if (!plan.ok) throw new RangeError(`${plan.refusal.field} is ${plan.refusal.value}; ${plan.refusal.rule}`);
  return plan.value;
}

/**
 * The stages of a plan, one after the other. Where none of its tokens goes early, nothing is decoded or ranked. Throws
 * RangeError for a solver beside velocities that are not all asked of the model: it needs them all.
 */
export function ralu({
  schedule,
  mode = 'latent',
  referenceVariance = false,
  referenceGrey: isClipped = false,
  selection = 'canny',
  previews: isShown = false,
  solver = 'euler',
}: RaluOptions): Sampler {
  const velocities = schedule.cache ? taylorSteps({ ...schedule.cache, form: 'taylor' }) : null;
  if (velocities && solver !== 'euler')
    throw new RangeError(`solver is ${solver}; expected euler where some steps are forecast`);
  // the plan of a size is fitted once, as the object keeps its fits
  const plans = new Map<string, Plan>();
  return async (denoiser) => {
    const { seed, width, height } = denoiser.job;
    const key = `${denoiser.facts.digest} ${width}x${height}`;
    const plan =
      plans.get(key) ??
      planFor(denoiser.facts, denoiser.job, schedule, {
        solver,
        selection: selection === 'latent' ? 'latent' : 'canny',
      });
    plans.set(key, plan);
    let tokens = firstTokens(plan, seed);
    const hasEarly = plan.selected.some((count) => count > 0);
    let selections: readonly Uint32Array[] = plan.selected.map(() => new Uint32Array(0));
    const previews: Pixels[] = [];
    for (const stage of plan.stages) {
      if (stage.stage > 1) tokens = nextTokens(plan, stage, { tokens, selections }, { seed, mode, referenceVariance });
      const isSelected = stage.stage === 1 && hasEarly;
      const { latents, picture, clean } = await runStage(denoiser, tokens, stage.sigmas, {
        velocities,
        solver,
        look: isSelected ? selection : null,
        isShown: isShown && stage.stage < plan.stages.length,
      });
      tokens = { ...tokens, latents };
      if (isShown && picture) previews.push(picture);
      if (isSelected) {
        const ranking =
          selection === 'canny' && picture
            ? rankPicture(picture, { block: denoiser.facts.token_pixels, isClipped }).ranking
            : clean
              ? selection === 'latent'
                ? rankTokens(latentScores(clean, tokens.scale.length))
                : rankBySobel(clean, denoiser)
              : rankByChance(tokens.scale.length, seed);
        selections = selectAtBoundaries(ranking, plan.selected);
      }
    }
    return { ...tokens, ...(selections[0]?.length && { early: selections[0] }), ...(isShown && { previews }) };
  };
}

interface StageEnd {
  readonly latents: Float32Array;
  readonly picture: Pixels | null;
  readonly clean: Float32Array | null;
}

/**
 * One stage, with what the selection looks at and the picture that is shown. One stage request, unless it has
 * velocities of its own or needs both the clean latents and their picture.
 */
async function runStage(
  denoiser: Denoiser,
  tokens: Tokens,
  sigmas: readonly number[],
  {
    velocities,
    solver,
    look,
    isShown,
  }: {
    readonly velocities: StartStage | null;
    readonly solver: Solver;
    readonly look: Selection | null;
    readonly isShown: boolean;
  },
): Promise<StageEnd> {
  const needsClean = look === 'latent' || look === 'sobel';
  const isDecoded = isShown || look === 'canny';
  if (!velocities && !needsClean) {
    if (isDecoded) return { ...(await denoiser.stepsAndPicture(tokens, sigmas, solver)), clean: null };
    return { latents: await denoiser.steps(tokens, sigmas, solver), picture: null, clean: null };
  }
  const { latents, clean } = velocities
    ? await walkToClean(denoiser, tokens, sigmas, velocities)
    : await denoiser.stepsAndClean(tokens, sigmas, solver);
  const picture = isDecoded ? await denoiser.decode({ ...tokens, latents: clean }) : null;
  return { latents, picture, clean: needsClean ? clean : null };
}

async function walkToClean(
  denoiser: Denoiser,
  tokens: Tokens,
  sigmas: readonly number[],
  velocities: StartStage,
): Promise<{ readonly latents: Float32Array; readonly clean: Float32Array }> {
  const { latents, velocity } = await walkStage(tokens, sigmas, velocities(denoiser));
  return { latents, clean: cleanEstimate(latents, velocity, sigmas.at(-1)!) };
}

/**
 * By gradient of the clean latents: 3x3 Sobel, |dx| + |dy| summed over channels and the token's four pixels, borders
 * replicated.
 */
function rankBySobel(clean: Float32Array, denoiser: Denoiser): Uint32Array {
  const canvas = canvasOf(denoiser);
  return rankTokens(sobelScores(clean, { channels: canvas.channels, rows: canvas.rows / 2, cols: canvas.cols / 2 }));
}

/** [rows * cols] gradient scores in thousandths. */
export function sobelScores(
  clean: Float32Array,
  { channels, rows, cols }: { channels: number; rows: number; cols: number },
): Uint32Array {
  const image = unpackLatents(clean, { channels, rows, cols });
  const height = 2 * rows;
  const width = 2 * cols;
  const sums = new Float64Array(rows * cols);
  const clamp = (value: number, size: number) => Math.min(size - 1, Math.max(0, value));
  for (let c = 0; c < channels; c++) {
    const at = (y: number, x: number) => image[(c * height + clamp(y, height)) * width + clamp(x, width)]!;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const dx =
          at(y - 1, x + 1) +
          2 * at(y, x + 1) +
          at(y + 1, x + 1) -
          at(y - 1, x - 1) -
          2 * at(y, x - 1) -
          at(y + 1, x - 1);
        const dy =
          at(y + 1, x - 1) +
          2 * at(y + 1, x) +
          at(y + 1, x + 1) -
          at(y - 1, x - 1) -
          2 * at(y - 1, x) -
          at(y - 1, x + 1);
        sums[(y >> 1) * cols + (x >> 1)]! += Math.abs(dx) + Math.abs(dy);
      }
    }
  }
  return Uint32Array.from(sums, (sum) => Math.round(1000 * sum));
}

/** Of the control that looks at nothing; a stream no boundary draws from. */
const CHANCE_STREAM = 2 ** 20;

function rankByChance(count: number, seed: number): Uint32Array {
  return rankTokens(
    Uint32Array.from(standardNormals({ seed, stream: CHANCE_STREAM, count }), (value) =>
      Math.round((value + 10) * 1e6),
    ),
  );
}
