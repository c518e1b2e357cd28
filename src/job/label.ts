/**
 * What a finished picture says of itself: the settings as AUTOMATIC1111 writes them, which its tools and many sites
 * show, and a request that makes the picture again. Pure: no date, no id of a job or an account, so that equal requests
 * have equal files.
 */
import { exifBlock } from '../picture/exif.ts';
import { MOST_EXIF, withExifSegment } from '../picture/jpeg.ts';
import { withTexts } from '../picture/png.ts';
import { withExifChunk } from '../picture/webp.ts';
import { showSize } from './enlarge.ts';
import type { JobRequest, Plan, RequestAgain, ScheduleRequest } from './job.ts';
import { PRESETS } from './presets.ts';

/** The request of a picture and the build of its model, as the picture has them: JSON. */
export interface Again {
  /** version of this form */
  readonly ralu: 1;
  readonly model_digest: string;
  /** a body of `POST /v1/jobs` */
  readonly request: Readonly<Record<string, unknown>>;
}

type Labelled = Pick<Plan, 'model'>;

const SOLVERS: Readonly<Record<JobRequest['solver'], string>> = { euler: 'Euler', ab2: 'Adams-Bashforth 2' };
/** How much of a digest AUTOMATIC1111 shows. */
const SHORT_DIGEST = 10;

/** What would end a value, or be taken for the end of a name: comma, colon, line feed, quotation mark. */
const SPECIAL = /[,:\n\x22]/;

/** A value as AUTOMATIC1111 writes it: in quotes where it would be taken for more than one. */
const quoted = (value: string): string => (SPECIAL.test(value) ? JSON.stringify(value) : value);

/** The digest without what says how it was made. */
const digits = (digest: string): string => digest.replace(/^sha256:/, '');

/**
 * The settings as AUTOMATIC1111 writes them: the prompt, a line with the negative prompt where there is one, and a line
 * of names and values. Without zero bytes, which end a text in picture files, and half characters. `steps` are those
 * of each stage, `digest` is the model's. Source: `create_infotext` and `parse_generation_parameters` there.
 */
export function settingsText(
  request: RequestAgain,
  { steps, digest }: { readonly steps: readonly number[]; readonly digest: string },
): string {
  const { prompt, negative_prompt = '', preset, solver, guidance, seed, enlarge, model } = request;
  const settings: readonly (readonly [string, string] | null)[] = [
    ['Steps', String(steps.reduce((sum, count) => sum + count, 0))],
    ['Sampler', SOLVERS[solver]],
    ['Schedule type', preset ?? `custom ${steps.join('-')}`],
    guidance === undefined ? null : ['CFG scale', String(guidance)],
    ['Seed', String(seed)],
    ['Size', showSize(request)],
    enlarge ? ['Enlarged to', showSize(enlarge)] : null,
    ['Model hash', digits(digest).slice(0, SHORT_DIGEST)],
    ['Model', model],
    ['Model digest', digest],
    ['Version', 'ralu'],
  ];
  const line = settings
    .filter((setting) => setting !== null)
    .map(([name, value]) => `${name}: ${quoted(value)}`)
    .join(', ');
  return [prompt, ...(negative_prompt === '' ? [] : [`Negative prompt: ${negative_prompt}`]), line]
    .join('\n')
    .replaceAll('\0', '')
    .toWellFormed();
}

/** Whether a preset has a cache of its own, which a request may not name beside it. */
const isPresetCache = (preset: string | null): boolean => PRESETS.some(({ name, cache }) => name === preset && cache);

/** A schedule in the words of a request that asks for it. */
function scheduleAgain({ preset, steps, ends, ratios, shifts, z, zMax, cache }: ScheduleRequest) {
  return {
    ...(preset === null
      ? { N: steps, e: ends, ...(shifts && { h: shifts }), ...(z && { Z: z }) }
      : { preset, ...(shifts && { published: true }) }),
    ...(ratios.length > 0 && { r: ratios }),
    ...(zMax !== null && { z_max: zMax }),
    ...(cache && !isPresetCache(preset) && { cache }),
  };
}

/**
 * The request that makes the picture again, with everything that decides its bytes and nothing else. Law: planned on
 * the same model, it gives the same request, but for what changes no byte.
 */
export function againOf(request: JobRequest, { model }: Labelled): Again & { readonly request: RequestAgain } {
  const { prompt, negativePrompt, guidance, width, height, enlarge, seed, schedule, format, quality } = request;
  const { solver, selection, upsampling, reference } = request;
  return {
    ralu: 1,
    model_digest: model.digest,
    request: {
      model: model.id,
      prompt,
      ...(negativePrompt !== '' && { negative_prompt: negativePrompt }),
      width,
      height,
      ...(enlarge && { enlarge }),
      seed,
      ...scheduleAgain(schedule),
      solver,
      selection,
      upsampling,
      ...(reference && { reference }),
      ...(guidance !== null && { guidance }),
      output_format: format,
      ...(format !== 'png' && { quality }),
    },
  };
}

/** JSON in ASCII alone: every other character as an escape. */
const asciiJson = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[^\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

/**
 * The file of a finished picture with its settings in it: the texts `parameters` and `ralu` of PNG, UserComment and
 * MakerNote of EXIF in JPEG and WebP. As it came where the request wants none, where it is no file of its format, and
 * where a JPEG has no room for them, which is at about 60 KB. Laws: the pixels stay; equal pictures and requests give
 * equal files.
 */
export function labelled(file: Uint8Array, request: JobRequest, plan: Labelled): Uint8Array {
  if (!request.metadata) return file;
  const again = againOf(request, plan);
  const comment = settingsText(again.request, { steps: request.schedule.steps, digest: plan.model.digest });
  const note = asciiJson(again);
  switch (request.format) {
    case 'png':
      return withTexts(file, [
        { keyword: 'parameters', text: comment },
        { keyword: 'ralu', text: note },
      ]);
    case 'webp':
      return withExifChunk(file, exifBlock({ comment, note }));
    case 'jpeg':
      return withExifSegment(file, roomyBlock(comment, note));
  }
}

/** The block of EXIF; without the settings for people where both have no room in a JPEG file. */
function roomyBlock(comment: string, note: string): Uint8Array {
  const whole = exifBlock({ comment, note });
  return whole.length <= MOST_EXIF ? whole : exifBlock({ comment: '', note });
}
