/** Jobs to plan: requests as the router would make them, on a model's facts. */
import type { JobRequest, Plan } from '../../src/job/job.ts';
import { makePlan } from '../../src/job/plan.ts';
import { chooseSchedule, type Planned, type ScheduleInput } from '../../src/job/schedule-request.ts';
import { fluxFlopFacts, sd3FlopFacts } from '../../src/numerics/flops.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';

/** FLUX.1-dev as a stage server would describe it; some of its sizes have a token grid with an odd side. */
export const FLUX: ModelFacts = {
  id: 'flux-1-dev',
  aliases: ['flux'],
  family: 'flux.1',
  channels: 16,
  token_pixels: 16,
  sizes: [
    { width: 1024, height: 1024 },
    { width: 1280, height: 1280 },
    { width: 1360, height: 768 },
    { width: 848, height: 480 },
    { width: 720, height: 720 },
  ],
  size_rule: null,
  upsampling: ['latent', 'token'],
  caches: ['taylor_velocity'],
  shift: [{ tokens: 4096, shift: 3 }],
  steps: 50,
  guidance: { kind: 'embedded', min: 1, max: 10, default: 3.5 },
  negative_prompt: false,
  text_tokens: 512,
  max_tokens: 6400,
  scripts: null,
  flops: fluxFlopFacts({ textTokens: 512, guidance: true }),
  digest: 'sha256:flux',
  licence: 'test',
  card: '',
};

/** Stable Diffusion 3 Medium: two evaluations a step where it is guided. */
export const SD3: ModelFacts = {
  ...FLUX,
  id: 'sd3-medium',
  aliases: [],
  family: 'sd3',
  sizes: [{ width: 1024, height: 1024 }],
  steps: 28,
  guidance: { kind: 'cfg', min: 0, max: 20, default: 7 },
  negative_prompt: true,
  text_tokens: 333,
  max_tokens: 4096,
  flops: sd3FlopFacts({ textTokens: 333, cfg: true }),
  digest: 'sha256:sd3',
};

/** What was planned. Throws with the refusal. */
export function value<T>(planned: Planned<T>): T {
  if (!planned.ok) throw new Error(JSON.stringify(planned.refusal));
  return planned.value;
}

/** A request of this schedule at the model's first size, unless `changes` say otherwise. */
export function requestOn(facts: ModelFacts, input: ScheduleInput, changes: Partial<JobRequest> = {}): JobRequest {
  const { width, height } = { ...facts.sizes[0]!, ...changes };
  return {
    model: facts.id,
    prompt: 'a red apple',
    negativePrompt: '',
    guidance: facts.guidance?.default ?? null,
    width,
    height,
    seed: 0,
    schedule: value(chooseSchedule(input, facts, { width, height })),
    solver: 'euler',
    selection: input.selection ?? 'canny',
    upsampling: 'latent',
    reference: false,
    format: 'png',
    quality: 90,
    isOwnSchedule: false,
    allowEngineChange: false,
    previews: { count: 0, format: 'webp' },
    ...changes,
  };
}

/** The plan of that request; no fit is remembered unless a memo is given. */
export const planOn = (
  facts: ModelFacts,
  input: ScheduleInput,
  changes: Partial<JobRequest> = {},
  memo = new Map(),
): Planned<Plan> => makePlan(requestOn(facts, input, changes), facts, memo);
