/**
 * `npm run eval`: every way of sampling over the evaluation's prompts, scored, into docs/evaluation.md; with `--url`
 * pictures of any deployed model. See lab/eval/options.ts and lab/eval/deployed/options.ts for what may be asked.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ROOT } from '../../scripts/local/bundle.ts';
import { runCommand, UsageError } from '../../scripts/local/command-line.ts';
import { keptPort } from '../../scripts/local/ports.ts';
import { startStage } from '../../scripts/local/stage.ts';
import { defaultPreset } from '../../src/job/presets.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { type About, folderOf, latestFolder, loadAbout, resultsOf, saveAbout, thisSitting } from './about.ts';
import { CALIBRATION_VERSION, calibrate } from './calibrate.ts';
import { parseClaims } from './claims.ts';
import { type Denoiser, type Job, makeDenoiser } from './denoiser.ts';
import { HELP as DEPLOYED_HELP, type DeployedOptions, isDeployed, parseDeployed } from './deployed/options.ts';
import { makePictures } from './deployed/run.ts';
import { detailOf } from './detail.ts';
import { type Detector, openDetector } from './detect.ts';
import { describeDetector } from './detector-facts.ts';
import { writeDocument } from './document.ts';
import { type Expectation, judge } from './judge.ts';
import { choose, type EvalOptions, HELP, parseOptions } from './options.ts';
import { loadPicture, savePicture } from './pictures.ts';
import { currentResults, openResults, type Result, resultsOfPrompts } from './results.ts';
import type { Ablation, Row } from './row.ts';
import { makeAblations, makeRows } from './rows.ts';
import { type Bench, itemsLeft, measure, type Prompt, takePrompts, timeLeft } from './run.ts';
import { planFor } from './samplers/ralu.ts';
import { presetSchedule } from './schedules.ts';
import { type Seeded, withSeeds } from './seeds.ts';
import { type PromptSet, promptsOf, sentencesOf } from './sets.ts';
import { openSprites } from './sprite.ts';
import { stageAt } from './stage-run.ts';
import { HARD } from './tasks.ts';

interface EvalPrompt extends Prompt {
  readonly expect: Expectation;
  /** of the things it is about */
  readonly names: readonly string[];
}

const readJson = <T>(name: string): T => JSON.parse(readFileSync(new URL(`./${name}`, import.meta.url), 'utf8')) as T;
const PROMPTS = { A: readJson<EvalPrompt[]>(promptsOf.A), B: readJson<EvalPrompt[]>(promptsOf.B) };
/** the first prompt of each task: chosen by no eye */
const showcaseOf = (set: PromptSet): Seeded<EvalPrompt>[] => withSeeds(takePrompts(PROMPTS[set], 1), 1);
/** prompts of each task of set A that the calibration runs, under seeds that no row sees */
const CALIBRATION_PROMPTS = 3;

const say = (text: string): void => void process.stderr.write(`${text}\n`);
const pictureOf = (folder: string, row: string, { id, nth }: Seeded<EvalPrompt>): string =>
  join(folder, 'pictures', row, nth === 0 ? `${id}.png` : `${id}-seed-${nth}.png`);
/** The prompts that the options ask for, each under as many seeds. */
const askedPrompts = ({ set, tasks, prompts, seeds }: EvalOptions): Seeded<EvalPrompt>[] =>
  withSeeds(
    takePrompts(
      PROMPTS[set].filter(({ task }) => tasks === 'all' || HARD.has(task)),
      prompts,
    ),
    seeds,
  );

/** What set B is to confirm, and a digest that tells whether it has changed since. */
function loadClaims() {
  const text = readFileSync(new URL('./claims.json', import.meta.url), 'utf8');
  const said = parseClaims(text);
  const digest = createHash('sha256').update(text).digest('hex').slice(0, 12);
  return { said, digest, pictures: withSeeds(PROMPTS.B, Math.max(...said.claims.map(({ seeds }) => seeds))) };
}

/** The rows and ablations that the options name, and the plain run, with which a document compares them. */
function chosen(
  { rows: ids, ablations }: EvalOptions,
  { facts, calibration }: About,
): { plain: Row; rows: readonly Row[]; ablations: readonly Ablation[] } {
  const all = makeRows(facts, calibration);
  return {
    plain: all[0]!,
    rows: choose(all, ids, '--rows'),
    ablations: choose(makeAblations(facts, calibration), ablations, '--ablations'),
  };
}

/** Runs what is not done yet of what the options ask; resolves to the folder of the results. */
async function run(options: EvalOptions, detector: Detector): Promise<string> {
  const port = await keptPort();
  const sprites = await openSprites();
  const token = randomBytes(24).toString('base64url');
  const { child, ready } = startStage({ engine: 'native', port, token });
  try {
    const stage = stageAt({ url: await ready, token });
    const facts = await modelOf(await stage.models(), options);
    const size = options.size ?? facts.sizes[0]!;
    const open = (job: Job): Denoiser => makeDenoiser(facts, job, stage.runOn(facts));
    const folder = folderOf(facts, size);
    const about = await begin(folder, { facts, size, open });
    const { plain, rows, ablations } = chosen(options, about);
    const sitting = { set: options.set, ...(options.set === 'B' && { claims: loadClaims().digest }) };
    saveAbout(folder, { ...about, sittings: [...about.sittings, thisSitting(process.argv.slice(2), sitting)] });

    const bench: Bench<Seeded<EvalPrompt>> = {
      size,
      open,
      detector: detector.digest,
      earlyCount: planFor(facts, size, presetSchedule(facts, defaultPreset(facts))).selected[0] ?? 0,
      plainPicture: (prompt) => loadPicture(pictureOf(folder, plain.id, prompt)),
      judge: async (prompt, picture) => {
        const seen = await detector.look(picture);
        const detail = detailOf(picture, seen.objects, { asked: prompt.names, sprites });
        return { ...judge(prompt.expect, seen), seen, detail };
      },
    };
    await runRows(bench, {
      folder,
      plain,
      rows: [...rows, ...ablations.flatMap((ablation) => ablation.rows)],
      prompts: askedPrompts(options),
      showcase: showcaseOf(options.set),
    });
    return folder;
  } finally {
    await child.stop();
  }
}

function modelOf(models: readonly ModelFacts[], { model, size }: EvalOptions): ModelFacts {
  const facts = model === null ? models[0] : models.find(({ id, aliases }) => id === model || aliases.includes(model));
  if (!facts) throw new UsageError(`--model: there is no ${model}; there are ${models.map(({ id }) => id).join(', ')}`);
  if (size && !facts.sizes.some(({ width, height }) => width === size.width && height === size.height))
    throw new UsageError(
      `--size: ${facts.id} has no ${size.width}x${size.height}; it has ${facts.sizes.map(({ width, height }) => `${width}x${height}`).join(', ')}`,
    );
  return facts;
}

/**
 * What is kept of this model at this size; where nothing is, or its calibration is of another version, it is measured.
 */
async function begin(
  folder: string,
  { facts, size, open }: { facts: ModelFacts; size: { width: number; height: number }; open: (job: Job) => Denoiser },
): Promise<About> {
  const kept = loadAbout(folder);
  if (kept?.calibration.version === CALIBRATION_VERSION) return { ...kept, facts };
  say('calibrating: what the model must be known by before rows of equal work can be set up');
  const jobs = takePrompts(PROMPTS.A, CALIBRATION_PROMPTS).map(({ prompt, seed }) => ({
    prompt,
    seed: (seed ^ 0x5eed_cafe) >>> 0,
    ...size,
  }));
  const about: About = { facts, calibration: await calibrate(facts, open, jobs), sittings: kept?.sittings ?? [] };
  saveAbout(folder, about);
  return about;
}

/**
 * Every picture that is not done yet, each kept as soon as it is. Pictures are kept of the showcase, and all of the
 * plain run: distances need them.
 */
async function runRows(
  bench: Bench<Seeded<EvalPrompt>>,
  {
    folder,
    plain,
    rows,
    prompts,
    showcase,
  }: {
    folder: string;
    plain: Row;
    rows: readonly Row[];
    prompts: readonly Seeded<EvalPrompt>[];
    showcase: readonly Seeded<EvalPrompt>[];
  },
): Promise<void> {
  const { results, add } = openResults(resultsOf(folder));
  const items = itemsLeft(prompts, rows, currentResults(resultsOfPrompts(results, prompts), rows, bench.detector));
  say(
    `${rows.length} rows, ${prompts.length} pictures each: ${items.length} pictures to make, ${rows.length * prompts.length - items.length} done before`,
  );
  if (items.length === 0) return;
  // the first requests of a stage server pay for memory and threads that later ones find ready
  await measure(bench, items.at(-1)!.row, items.at(-1)!.prompt);

  const took = new Map<string, number[]>();
  for (const [i, { row, prompt }] of items.entries()) {
    const start = performance.now();
    const { result, picture } = await measure(bench, row, prompt);
    // the picture first: where its line is kept, it is there
    if (row.id === plain.id || showcase.some(({ id, nth }) => id === prompt.id && nth === prompt.nth))
      await savePicture(pictureOf(folder, row.id, prompt), picture);
    add(result);
    took.set(row.id, [...(took.get(row.id) ?? []), performance.now() - start]);
    const left = timeLeft(items.slice(i + 1), took) ?? 0;
    say(
      `${i + 1}/${items.length}  ${prompt.id}  seed ${prompt.nth}  ${row.id}  ${(result.spent.computeMs / 1000).toFixed(2)} s  ${result.correct ? 'correct' : result.reason}  ${duration(left)} left`,
    );
  }
}

const duration = (ms: number): string =>
  ms < 90_000
    ? `${Math.round(ms / 1000)} s`
    : ms < 5_400_000
      ? `${Math.round(ms / 60_000)} min`
      : `${(ms / 3_600_000).toFixed(1)} h`;

/** Results judged anew: what was seen stays, what is right is decided by the rules of today. */
function judgedAnew(results: readonly Result[], prompts: readonly EvalPrompt[]): Result[] {
  const expected = new Map(prompts.map(({ id, expect }) => [id, expect]));
  return resultsOfPrompts(results, prompts).map((result) => ({
    ...result,
    ...judge(expected.get(result.prompt)!, result.seen),
  }));
}

/**
 * The conclusions about a set that are written by hand, where they are about this model; of another they would say what
 * nobody has seen.
 */
function sentencesAbout(set: PromptSet, { digest }: ModelFacts): Readonly<Record<string, string>> {
  const { digest: about, ...sentences } = readJson<Readonly<Record<string, string>> & { readonly digest: string }>(
    sentencesOf[set],
  );
  return digest.startsWith(about) ? sentences : {};
}

/** The document from what is kept in `folder`: of the rows and ablations that the options name. */
async function report(
  options: EvalOptions,
  { digest, reference, facts: accuracy }: Detector,
  folder: string,
): Promise<string> {
  const about = loadAbout(folder);
  if (!about) throw new Error(`there are no results in ${folder}`);
  if (about.calibration.version !== CALIBRATION_VERSION)
    throw new UsageError(
      '--report: the calibration kept is of another version; a run without --report measures it anew',
    );
  const { facts, calibration, sittings } = about;
  const { plain, rows, ablations } = chosen(options, about);
  const { set } = options;
  const showcase = showcaseOf(set);
  return writeDocument(
    {
      rows: [plain, ...rows.filter((row) => row !== plain)],
      ablations,
      results: judgedAnew(openResults(resultsOf(folder)).results, askedPrompts(options)),
      showcase,
      pictureOf: (row, id) => pictureOf(folder, row, showcase.find((prompt) => prompt.id === id)!),
      // the real pictures are of set A's prompts
      detector: { digest, reference: set === 'A' ? reference : null, markdown: describeDetector(accuracy) },
      set,
      claims: set === 'A' ? null : loadClaims(),
      model: { id: facts.id, digest: facts.digest },
      size: { width: calibration.width, height: calibration.height },
      sittings: sittings.filter((sitting) => (sitting.set ?? 'A') === set),
      sentences: sentencesAbout(set, facts),
    },
    resolve(ROOT, options.out),
  );
}

async function main(options: EvalOptions): Promise<number> {
  const detector = await openDetector();
  try {
    const folder = options.isReportOnly ? latestFolder(options.model, options.size) : await run(options, detector);
    if (folder === null) throw new UsageError('--report: nothing has been measured yet');
    say(`written: ${await report(options, detector, folder)}`);
    return 0;
  } finally {
    await detector.close();
  }
}

/** A deployed model: its pictures, through its API. */
async function deployed(options: DeployedOptions): Promise<number> {
  try {
    const made = await makePictures(options, say);
    say(`${made} pictures made; score them: python lab/eval/score.py ${options.out}`);
    return 0;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    say(`eval: ${(error as Error).message}`);
    return 1;
  }
}

// npm runs this in lab; paths are meant from where npm was called
const fromCaller = (path: string): string => resolve(process.env.INIT_CWD ?? process.cwd(), path);

await runCommand({
  command: 'npm run eval',
  help: `${HELP}\n${DEPLOYED_HELP}`,
  parse: (args) => {
    if (!isDeployed(args)) return parseOptions(args);
    const options = parseDeployed(args, process.env);
    return options && { ...options, prompts: fromCaller(options.prompts), out: fromCaller(options.out) };
  },
  run: (options) => ('service' in options ? deployed(options) : main(options)),
});
