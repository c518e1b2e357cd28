/** The ways of sampling that the evaluation compares: the table's rows, and the settings that its ablations vary. */
import type { ScheduleRequest } from '../../src/job/job.ts';
import { modelShift } from '../../src/job/model-shift.ts';
import { defaultPreset, presetsFor, usualPresetsFor } from '../../src/job/presets.ts';
import type { Solver } from '../../src/numerics/adams-bashforth.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import type { Calibration } from './calibrate.ts';
import type { Ablation, AblationRow, Row } from './row.ts';
import { anchorTokens } from './samplers/anchors.ts';
import { blank } from './samplers/blank.ts';
import { bottleneck, bottleneckRestart } from './samplers/bottleneck.ts';
import { budgetOf, fewestSteps, fewestWith, intervalFor, share, throughPixels } from './samplers/budget.ts';
import { canvasOf, plainSigmas } from './samplers/canvas.ts';
import { lateUpsampling } from './samplers/late.ts';
import { mrFlow } from './samplers/mrflow.ts';
import { plain } from './samplers/plain.ts';
import { planFor, type RaluOptions, ralu, type Selection } from './samplers/ralu.ts';
import { KERNELS } from './samplers/resize.ts';
import { teaCache } from './samplers/reuse.ts';
import { selfLift } from './samplers/selflift.ts';
import { grownLevel, growthLevel, lowSteps, speed } from './samplers/speed.ts';
import { type TaylorOptions, taylorSeer } from './samplers/taylor.ts';
import { fitShifts, type Matched, mismatched, presetSchedule } from './schedules.ts';
import { BLANK } from './targets.ts';

/** SPEED's tolerance, as its code has it. */
const DELTA = 0.01;
/** MrFlow's level for the last step, as its code has it for FLUX.1-dev and twenty low steps. */
const LAST_LEVEL = 0.15;
/** SelfLift, as its paper has it for a model of eight steps: share of low steps, share of places, weights. */
const LIFT = { low: 0.75, rho: 0.3, weights: [0.5, 1] } as const;
/** TaylorSeer's highest difference, as its paper recommends for FLUX. */
const ORDER = 2;

/** Sizes, costs and budgets that all rows share. */
function settingFor(facts: ModelFacts, { width, height, encoder }: Calibration) {
  const { rows, cols } = canvasOf({ facts, job: { prompt: '', seed: 0, width, height } });
  const fullTokens = rows * cols;
  const shift = modelShift(facts.shift, fullTokens);
  const presets = presetsFor(facts).filter(({ cache }) => cache === null);
  const fastest = defaultPreset(facts);
  const second = usualPresetsFor(facts).at(-2)?.name ?? fastest;
  const budget = (preset: string) => budgetOf(facts, planFor(facts, { width, height }, presetSchedule(facts, preset)));
  const cost = (tokens: number) => share(facts, tokens, fullTokens);
  return {
    width,
    height,
    fullTokens,
    shift,
    presets,
    fastest,
    second,
    budget,
    cost,
    lowCost: cost(fullTokens / 4),
    encoder,
    pixelCost: throughPixels(facts, encoder, width * height, fullTokens),
  };
}

/**
 * The rows of the table, the plain run first. Rivals are set up for at least the work of the fastest preset, and where
 * two speeds are compared, of the one before it.
 */
export function makeRows(facts: ModelFacts, calibration: Calibration): readonly Row[] {
  const setting = settingFor(facts, calibration);
  const { presets, fastest, second, budget } = setting;
  const schedule = presetSchedule(facts, fastest);
  return [
    ...[...new Set([facts.steps, 10, 7, 5, 4, 3, 2, 1])].map(
      (steps): Row => ({
        id: `plain-${steps}`,
        name: `plain, ${steps} steps`,
        group: 'plain',
        settings: { steps },
        sample: plain({ steps }),
      }),
    ),
    {
      id: 'plain-7-ab2',
      name: 'plain, 7 steps of Adams-Bashforth 2',
      group: 'plain',
      settings: { steps: 7, solver: 'ab2' },
      sample: plain({ steps: 7, solver: 'ab2' }),
    },
    bottleneckRow(setting, budget(fastest), 'euler', 'pixels'),
    bottleneckRow(setting, budget(fastest), 'ab2', 'pixels'),
    naiveRow(setting, budget(fastest), 'pixels'),
    taylorRow(facts, fastest, budget(fastest), { order: 1, form: 'taylor' }),
    taylorRow(facts, fastest, budget(fastest), { order: ORDER, form: 'taylor' }),
    taylorRow(facts, fastest, budget(fastest), { order: 1, form: 'newton' }),
    taylorRow(facts, second, budget(second), { order: ORDER, form: 'taylor' }),
    {
      id: `teacache-${fastest}`,
      name: `TeaCache-style reuse, work of ${fastest}`,
      group: 'rival',
      settings: { steps: facts.steps, threshold: calibration.reuseThreshold },
      reading:
        'the signal is the last seen change of the velocity; the paper’s, the first block’s input rescaled by a fitted polynomial, cannot be had from outside the model. It decides by itself when to evaluate, so prompts differ in work',
      sample: teaCache({ steps: facts.steps, threshold: calibration.reuseThreshold }),
    },
    speedRow(setting, calibration, budget(fastest), 'latents'),
    mrFlowRow(setting, budget(fastest)),
    selfLiftRow(setting, budget(fastest)),
    anchorRow(setting, budget(fastest)),
    ...presets.map(({ name }) =>
      raluRow(
        facts,
        { id: `ralu-${name}`, name: `RALU ${name}` },
        { schedule: presetSchedule(facts, name) },
        calibration,
      ),
    ),
    ...presets
      .filter(({ published }) => published)
      .map(({ name }) =>
        raluRow(
          facts,
          { id: `ralu-${name}-published`, name: `RALU ${name}, published h and Z` },
          { schedule: presetSchedule(facts, name, { published: true }) },
          calibration,
        ),
      ),
    ...presetsFor(facts).flatMap(({ name, cache }) => {
      if (!cache) return [];
      const { warmup, interval, order } = cache;
      const [base] = name.split('-');
      const row = raluRow(
        facts,
        { id: `ralu-${name}`, name: `RALU ${base} + TaylorSeer, W = ${warmup}` },
        { schedule: presetSchedule(facts, name) },
        calibration,
      );
      return [{ ...row, settings: { ...row.settings, warmup, interval, order } }];
    }),
    referenceRow(facts, schedule, fastest, calibration),
    blankRow(facts, fastest, calibration),
  ];
}

function raluRow(
  facts: ModelFacts,
  { id, name }: Pick<Row, 'id' | 'name'>,
  options: RaluOptions,
  { width, height }: Calibration,
): Row {
  return {
    id,
    name,
    group: 'ralu',
    settings: { ...scheduleSettings(facts, options.schedule, { width, height }), ...choiceSettings(options) },
    sample: ralu(options),
  };
}

function scheduleSettings(
  facts: ModelFacts,
  schedule: ScheduleRequest,
  size: { readonly width: number; readonly height: number },
): Row['settings'] {
  const plan = planFor(facts, size, schedule);
  return {
    N: schedule.steps,
    e: schedule.ends,
    r: schedule.ratios,
    h: plan.stages.map(({ shift }) => shift),
    Z: plan.z,
    numerics: plan.numerics,
    divergence: plan.divergence ?? 0,
  };
}

/** What departs from Euler's steps and Canny's edges. */
const choiceSettings = ({ solver = 'euler', selection = 'canny', schedule }: RaluOptions): Row['settings'] => ({
  ...(solver !== 'euler' && { solver }),
  ...(schedule.ratios.every((ratio) => ratio === 0) ? { selection: 'none' } : selection !== 'canny' && { selection }),
});

/** The reference implementation, its published constants and its errors included. */
function referenceRow(facts: ModelFacts, fitted: ScheduleRequest, preset: string, calibration: Calibration): Row {
  const isPublished = presetsFor(facts).some(({ name, published }) => name === preset && published);
  const schedule = isPublished ? presetSchedule(facts, preset, { published: true }) : fitted;
  return raluRow(
    facts,
    { id: `ralu-${preset}-reference`, name: `RALU ${preset}, reference mode` },
    { schedule, mode: 'token', referenceVariance: true, referenceGrey: true },
    calibration,
  );
}

/** The control: the preset's last stage, from noise in which there is no picture. */
function blankRow(facts: ModelFacts, preset: string, { width, height }: Calibration): Row {
  const schedule = presetSchedule(facts, preset);
  const { start, steps, shift } = planFor(facts, { width, height }, schedule).stages.at(-1)!;
  return {
    id: BLANK,
    name: `RALU ${preset}, last stage alone from noise`,
    group: 'ralu',
    settings: { steps, start, h: shift },
    sample: blank({ schedule }),
  };
}

type Shared = ReturnType<typeof settingFor>;

/** What a rival resizes: latents as they are, or their picture, which is decoded and encoded again for its work. */
type Resized = 'latents' | 'pixels';

/**
 * One full step, then about two thirds of what is left of the budget at the end, and low steps until the work is
 * reached.
 */
function bottleneckRow({ lowCost, pixelCost, encoder }: Shared, budget: number, solver: Solver, up: Resized): Row {
  const left = budget - 1 - (up === 'pixels' ? pixelCost : 0);
  const high = Math.max(1, Math.round(left * 0.65));
  const low = Math.max(1, Math.ceil((left - high) / lowCost));
  const options = {
    steps: [1, low, high] as const,
    ends: [0.1, 0.45] as const,
    solver,
    ...(up === 'pixels' && { pixels: encoder }),
  };
  const { steps, ends } = options;
  const reading =
    'three stages and a clean estimate resized and noised again are the paper’s; the filters, going up through pixels and a fitted encoder, the level going up and how the work is shared out are ours';
  return {
    id: solver === 'euler' ? 'bottleneck' : `bottleneck-${solver}`,
    name: solver === 'euler' ? 'Bottleneck Sampling' : 'Bottleneck Sampling by Adams-Bashforth 2',
    group: 'rival',
    settings: { steps, ends, restart: bottleneckRestart(ends[1]), up, ...(solver !== 'euler' && { solver }) },
    reading,
    sample: bottleneck(options),
  };
}

/** Late is where the paper sees the artefact: t = 0.5. */
function naiveRow({ lowCost, pixelCost, encoder, shift }: Shared, budget: number, of: Resized): Row {
  const end = 0.5;
  const [low = 1, full = 1] = fewestSteps(of === 'pixels' ? budget - pixelCost : budget, {
    ends: [end, 1],
    costs: [lowCost, 1],
    shift,
  });
  const steps = [low, full] as const;
  return {
    id: 'naive-late',
    name: 'naive late upsampling',
    group: 'rival',
    settings: { steps, end, kernel: 'nearest', of },
    reading:
      'no published method: everything upsampled at t = 0.5; the clean estimate is enlarged as a picture by nearest neighbour, encoded by a fitted encoder, and fresh noise brings it back',
    sample: lateUpsampling({ steps, end, kernel: 'nearest', of: of === 'pixels' ? { pixels: encoder } : of }),
  };
}

function taylorRow(
  facts: ModelFacts,
  preset: string,
  budget: number,
  { order, form }: Pick<TaylorOptions, 'order' | 'form'>,
): Row {
  const options = { steps: facts.steps, warmup: 1, interval: intervalFor(budget, facts.steps), order, form };
  const [kind, reading] =
    form === 'newton'
      ? [
          'forecast over sigma',
          'ours: TaylorSeer with divided differences over the noise level in place of the step number',
        ]
      : [
          'TaylorSeer',
          'formula, interval and order are the paper’s; it forecasts every block’s features, here it is the velocity',
        ];
  return {
    id: `${form}-${preset}-order-${order}`,
    name: `${kind}, order ${order}, work of ${preset}`,
    group: 'rival',
    settings: options,
    reading,
    sample: taylorSeer(options),
  };
}

function speedRow(
  { lowCost, pixelCost, encoder, shift }: Shared,
  { spectrum }: Calibration,
  budget: number,
  grown: Resized,
): Row {
  const level = growthLevel(spectrum, DELTA);
  const lowOf = (steps: number): number => lowSteps(plainSigmas(steps, shift), level);
  const total = fewestWith(
    grown === 'pixels' ? budget - pixelCost : budget,
    2,
    (steps) => lowOf(steps) * lowCost + steps - lowOf(steps),
  );
  const low = lowOf(total);
  const sigma = plainSigmas(total, shift)[low]!;
  const reading =
    'two scales, the cosine transform, the level at which the grid grows (equations 9 and 10, tolerance 0.01) and the level after it are the paper’s; the number of steps is ours';
  return {
    id: 'speed',
    name: 'SPEED, spectral growth',
    group: 'rival',
    settings: {
      steps: [low, total - low],
      level,
      end: 1 - sigma,
      start: 1 - grownLevel(sigma),
      delta: DELTA,
      ...spectrum,
    },
    reading,
    sample: speed({ steps: total, level, ...(grown === 'pixels' && { pixels: encoder }) }),
  };
}

function mrFlowRow({ lowCost, pixelCost, encoder }: Shared, budget: number): Row {
  const low = fewestWith(budget - pixelCost - 1, 1, (steps) => steps * lowCost);
  return {
    id: 'mrflow',
    name: 'MrFlow, enlarged as pixels',
    group: 'rival',
    settings: { steps: [low, 1], sigma: LAST_LEVEL },
    reading:
      'low picture, enlarging as pixels, one full step from sigma = 0.15: the paper’s and its code’s; a Lanczos filter stands for their Real-ESRGAN and a fitted encoder for the autoencoder’s; the number of low steps is ours',
    sample: mrFlow({ lowSteps: low, sigma: LAST_LEVEL, encoder }),
  };
}

function selfLiftRow({ lowCost, pixelCost, encoder }: Shared, budget: number): Row {
  const lowOf = (steps: number): number => Math.min(steps - 1, Math.max(1, Math.round(LIFT.low * steps)));
  const steps = fewestWith(budget - pixelCost, 2, (count) => lowOf(count) * lowCost + count - lowOf(count));
  const { rho, weights } = LIFT;
  return {
    id: 'selflift',
    name: 'SelfLift-zero',
    group: 'rival',
    settings: { steps: [lowOf(steps), steps - lowOf(steps)], rho, weights },
    reading:
      'the two lifts, where and how far they are mixed, fresh noise and three quarters of the steps at low resolution are the paper’s; the Lanczos filter, the fitted encoder and the number of steps are ours',
    sample: selfLift({ steps, lowSteps: lowOf(steps), rho, weights, encoder }),
  };
}

function anchorRow({ fullTokens, cost, lowCost, shift }: Shared, budget: number): Row {
  const shares = [0.25, 0.5, 1];
  const ends = [0.2, 0.35, 1];
  const steps = fewestSteps(budget, { ends, costs: [lowCost, cost(fullTokens / 2), 1], shift });
  const reading =
    'anchors, interpolated velocities and activation where it matters are the paper’s; the first anchors, the weights, what matters and the stages are ours';
  return {
    id: 'jit',
    name: 'JiT, anchor tokens',
    group: 'rival',
    settings: { steps, ends, shares },
    reading,
    sample: anchorTokens({ steps, ends, shares }),
  };
}

/**
 * The ablations, each with all its settings, on the fastest preset and its work. Where one setting is the product's own
 * it is a row here too.
 */
export function makeAblations(facts: ModelFacts, calibration: Calibration): readonly Ablation[] {
  const setting = settingFor(facts, calibration);
  const { fastest, shift } = setting;
  const base = presetSchedule(facts, fastest);
  const problem = { steps: base.steps, ends: base.ends, modelShift: shift };
  const row = (ablation: string, value: number | string, options: Partial<RaluOptions>): AblationRow => {
    const schedule = options.schedule ?? base;
    const id = `${ablation}-${typeof value === 'number' ? value.toPrecision(3).replace(/\.?0+$/, '') : value}`;
    const ralu_ = raluRow(
      facts,
      { id, name: `RALU ${fastest}, ${ablation} ${value}` },
      { ...options, schedule },
      calibration,
    );
    return { ...ralu_, group: 'ablation', value };
  };
  const { z: baseZ } = planFor(facts, calibration, base);
  const best = fitShifts(problem, baseZ).divergence;
  const matched = ({ shifts, z }: Pick<Matched, 'shifts' | 'z'>): ScheduleRequest => ({
    ...base,
    preset: null,
    shifts,
    z,
  });

  return [
    {
      id: 'ratio',
      title: 'Share of tokens upsampled early',
      axis: 'r',
      rows: [0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5].map((r) =>
        row('ratio', r, { schedule: { ...base, preset: null, ratios: base.ratios.map(() => r) } }),
      ),
    },
    {
      id: 'divergence',
      title: 'Timestep distribution matched worse on purpose, same Z',
      axis: 'divergence',
      rows: [1, 1.15, 1.35, 1.55]
        .map((times) => mismatched(problem, baseZ, times * best))
        .map((match) => row('divergence', Number(match.divergence.toFixed(4)), { schedule: matched(match) })),
    },
    {
      id: 'upsampling',
      title: 'What upsampling repeats: latent pixels or tokens',
      axis: 'mode',
      rows: (['latent', 'token'] as const).map((mode) => row('upsampling', mode, { mode })),
    },
    {
      id: 'variance',
      title: 'Noise for values that are not upsampled',
      axis: 'variance',
      rows: [row('variance', 'matched', {}), row('variance', 'reference', { referenceVariance: true })],
    },
    {
      id: 'selection',
      title: 'What decides which tokens go early',
      axis: 'selection',
      rows: [
        ...(['canny', 'latent', 'sobel', 'random'] satisfies Selection[]).map((selection) =>
          row('selection', selection, { selection }),
        ),
        row('selection', 'none', {
          schedule: { ...base, preset: null, ratios: base.ratios.map(() => 0) },
        }),
      ],
    },
    {
      id: 'z',
      title: 'Strength of the renoising, h fitted for each Z',
      axis: 'Z',
      rows: [2, 3, 4, 6, 8, 10, 20, 50].map((z) =>
        row('z', z, {
          schedule: matched(
            fitShifts(
              problem,
              baseZ.map(() => z),
            ),
          ),
        }),
      ),
    },
    {
      id: 'resizing',
      title: 'What rivals resize at equal work: latents, or pictures decoded and encoded again',
      axis: 'rival',
      rows: (['latents', 'pixels'] as const).flatMap((resized) =>
        [
          naiveRow(setting, setting.budget(fastest), resized),
          bottleneckRow(setting, setting.budget(fastest), 'euler', resized),
          speedRow(setting, calibration, setting.budget(fastest), resized),
        ].map(
          ({ id, name, settings, sample }): AblationRow => ({
            id: `resizing-${id}-${resized}`,
            name: `${name}, ${resized}`,
            group: 'ablation',
            value: `${id}, ${resized}`,
            settings: { ...settings, resized },
            sample,
          }),
        ),
      ),
    },
    ...(['clean', 'latents'] as const).map((of): Ablation => {
      const end = 0.5;
      const [low = 1, full = 1] = fewestSteps(setting.budget(fastest), {
        ends: [end, 1],
        costs: [setting.lowCost, 1],
        shift,
      });
      return {
        id: `interpolation-${of}`,
        title:
          of === 'clean'
            ? 'Interpolation of the clean estimate at late upsampling, fresh noise'
            : 'Interpolation of the noisy latents at late upsampling',
        axis: 'filter',
        rows: KERNELS.map((kernel) => {
          const options = { steps: [low, full] as const, end, kernel, of };
          return {
            id: `interpolation-${of}-${kernel}`,
            name: `late upsampling, ${kernel} ${of}`,
            group: 'ablation',
            value: kernel,
            settings: options,
            sample: lateUpsampling(options),
          };
        }),
      };
    }),
    {
      id: 'upsampling-time',
      title: 'When everything is upsampled: bilinear clean estimate, fresh noise',
      axis: 't',
      rows: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7].map((end) => {
        const [low = 1, full = 1] = fewestSteps(setting.budget(fastest), {
          ends: [end, 1],
          costs: [setting.lowCost, 1],
          shift,
        });
        const options = { steps: [low, full] as const, end, kernel: 'bilinear', of: 'clean' } as const;
        return {
          id: `upsampling-time-${end}`,
          name: `upsampling at t = ${end}`,
          group: 'ablation',
          value: end,
          settings: options,
          sample: lateUpsampling(options),
        };
      }),
    },
  ];
}
