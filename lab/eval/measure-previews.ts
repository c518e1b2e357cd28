/**
 * `npm run previews`: what the previews of RALU's jobs tell of their final pictures, for one schedule or several. See
 * lab/eval/preview-options.ts for what may be asked.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ROOT } from '../../scripts/local/bundle.ts';
import { runCommand, UsageError } from '../../scripts/local/command-line.ts';
import { keptPort } from '../../scripts/local/ports.ts';
import { startStage } from '../../scripts/local/stage.ts';
import type { ScheduleRequest } from '../../src/job/job.ts';
import { defaultPreset } from '../../src/job/presets.ts';
import { chooseSchedule } from '../../src/job/schedule-request.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { type Denoiser, type Job, makeDenoiser } from './denoiser.ts';
import { openDetector } from './detect.ts';
import { HELP, type PreviewOptions, parsePreviewOptions } from './preview-options.ts';
import { enlarged, previewSection, psnr, summarize, thingsKept, type Watched } from './previews.ts';
import { type Prompt, takePrompts } from './run.ts';
import type { Sampler } from './sampler.ts';
import { blank } from './samplers/blank.ts';
import { planFor, ralu } from './samplers/ralu.ts';
import { presetSchedule, scheduleAt } from './schedules.ts';
import { withSeeds } from './seeds.ts';
import { promptsOf } from './sets.ts';
import { stageAt } from './stage-run.ts';

interface Setting {
  readonly name: string;
  readonly schedule: ScheduleRequest;
  readonly sample: Sampler;
  readonly chance: Sampler;
}

const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** The schedules that the options ask for, one for each Z. Throws UsageError where the product refuses them. */
function settingsOf(options: PreviewOptions, facts: ModelFacts, size: { width: number; height: number }): Setting[] {
  const { steps, ends, ratios, preset } = options;
  const asked = steps
    ? chooseSchedule({ N: steps, e: ends ?? undefined, r: ratios ?? undefined }, facts, size)
    : {
        ok: true as const,
        value: presetSchedule(facts, preset ?? defaultPreset(facts), ratios ? { r: ratios } : {}),
      };
  if (!asked.ok) throw new UsageError(`${asked.refusal.field} is ${asked.refusal.value}; ${asked.refusal.rule}`);
  const base = asked.value;
  if (base.steps.length === 1) throw new UsageError('a schedule of one stage has no previews');
  return options.zs.map((z) => {
    const schedule = z === 'fit' ? base : scheduleAt(facts, size, base, z);
    const plan = planFor(facts, size, schedule);
    const list = (values: readonly number[]) => values.map((value) => Number(value.toPrecision(3))).join(' ');
    return {
      name: `N ${list(plan.stages.map((stage) => stage.steps))}, e ${list(base.ends)}, r ${list(base.ratios)}, Z ${list(plan.z)}`,
      schedule,
      sample: ralu({ schedule, previews: true }),
      chance: blank({ schedule }),
    };
  });
}

async function main(options: PreviewOptions): Promise<number> {
  const detector = await openDetector();
  const port = await keptPort();
  const token = randomBytes(24).toString('base64url');
  const { child, ready } = startStage({ engine: 'native', port, token });
  try {
    const stage = stageAt({ url: await ready, token });
    const [facts] = await stage.models();
    const size = options.size ?? facts!.sizes[0]!;
    const settings = settingsOf(options, facts!, size);
    const open = (job: Job): Denoiser => makeDenoiser(facts!, job, stage.runOn(facts!));
    const file = new URL(`./${promptsOf[options.set]}`, import.meta.url);
    const prompts = withSeeds(
      takePrompts(JSON.parse(readFileSync(file, 'utf8')) as Prompt[], options.prompts),
      options.seeds,
    );
    // a low token has two full ones on a side
    const near = 2 * facts!.token_pixels;
    const watched: Watched[] = [];
    for (const [i, { id, task, prompt, seed }] of prompts.entries()) {
      for (const { name, sample, chance } of settings) {
        const denoiser = open({ prompt, seed, ...size });
        const sampled = await sample(denoiser);
        const final = await denoiser.decode(sampled);
        const other = await finalOf(open({ prompt, seed, ...size }), chance);
        const previews = sampled.previews!;
        const [first, last, unrelated] = await Promise.all([previews[0]!, final, other].map(detector.look));
        const distance = near / Math.min(size.width, size.height);
        watched.push({
          setting: name,
          prompt: id,
          task,
          seed,
          psnr: previews.map((preview) => psnr(enlarged(preview, final), final)),
          kept: thingsKept(first!, last!, distance),
          chance: thingsKept(first!, unrelated!, distance),
        });
      }
      say(`${i + 1}/${prompts.length}  ${id}`);
    }
    const summaries = settings.map(({ name }) => summarize(name, watched));
    const section = previewSection(summaries, near);
    const out = resolve(ROOT, options.out);
    mkdirSync(out, { recursive: true });
    const { id, digest } = facts!;
    const about = { model: { id, digest }, size, set: options.set, detector: detector.digest, near };
    const schedules = settings.map(({ name, schedule }) => ({ setting: name, ...schedule }));
    writeFileSync(
      join(out, 'previews.json'),
      `${JSON.stringify({ ...about, schedules, summaries, watched }, null, 1)}\n`,
    );
    writeFileSync(join(out, 'previews.md'), section);
    process.stdout.write(section);
    say(`written: ${join(out, 'previews.md')} and previews.json`);
    return 0;
  } finally {
    await Promise.all([child.stop(), detector.close()]);
  }
}

const finalOf = async (denoiser: Denoiser, sample: Sampler) => denoiser.decode(await sample(denoiser));

await runCommand({ command: 'npm run --prefix lab previews', help: HELP, parse: parsePreviewOptions, run: main });
