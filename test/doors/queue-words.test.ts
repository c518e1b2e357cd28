/** The words of fal's apps and Replicate's models: what they mean for a job, and what is told of the others. */
import { describe, expect, test } from 'vitest';
import {
  draftFalRequest,
  FAL_IGNORED,
  type FalInput,
  SIZE_NAMES,
  type SizeName,
  startSeconds,
} from '../../src/doors/fal-request.ts';
import type { IgnoredFields } from '../../src/doors/ignored.ts';
import { streamId, streamPlace, viewError } from '../../src/doors/replicate.ts';
import { viewModel, viewVersion } from '../../src/doors/replicate-model.ts';
import { draftPrediction, type PredictionInput, REPLICATE_IGNORED } from '../../src/doors/replicate-request.ts';
import type { Draft, DraftTools, PlannedJob } from '../../src/job/plan-request.ts';
import type { Planned } from '../../src/job/schedule-request.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { FLUX, SD3, value } from '../job/requests.ts';

const tools: DraftTools = { allowEngineChange: false, tariff: null, draw: () => 1, mayEnlarge: true };
const RULE = { multiple: 32, min_pixels: 65_536, max_pixels: 2 ** 20, max_aspect: 2 };
const ANY: ModelFacts = { ...FLUX, sizes: [{ width: 1024, height: 1024 }], size_rule: RULE };
const SMALL: ModelFacts = {
  ...FLUX,
  guidance: null,
  sizes: [
    { width: 256, height: 256 },
    { width: 256, height: 128 },
    { width: 128, height: 256 },
  ],
};

const jobsOf = (drafted: Planned<Draft>): readonly PlannedJob[] => value(drafted).plan(new Map());
const fal = (input: Partial<FalInput>, facts: ModelFacts = ANY) =>
  draftFalRequest({ prompt: 'a fox', seed: 7, ...input }, facts, tools);
const replicate = (input: Partial<PredictionInput>, facts: ModelFacts = ANY) =>
  draftPrediction({ prompt: 'a fox', seed: 7, ...input }, { field: 'version', name: facts.id }, [facts], tools);
/** Size and warnings of the one job of a draft. */
const sizeOf = (drafted: Planned<Draft>) => {
  const [{ request, plan }] = jobsOf(drafted) as [PlannedJob];
  return [`${request.width}x${request.height}`, ...plan.warnings];
};
const fieldOf = (planned: Planned<unknown>): string | null => (planned.ok ? null : planned.refusal.field);

describe('a size of fal’s by name', () => {
  test.each(Object.entries(SIZE_NAMES))('%s is the pixels it has there, where the model makes them', (name, size) => {
    expect(sizeOf(fal({ image_size: name as SizeName }))).toEqual([`${size.width}x${size.height}`]);
  });

  test('is the nearest elsewhere, and the true size is told', () => {
    expect(sizeOf(fal({ image_size: 'landscape_16_9' }, SMALL))).toEqual([
      '256x128',
      'image_size landscape_16_9 means 1024x576: the picture has 256x128, the nearest that the model makes',
    ]);
    expect(sizeOf(fal({ image_size: 'portrait_16_9' }, SMALL))[0]).toBe('128x256');
  });

  test('by pixels is these and no others', () => {
    expect(fieldOf(fal({ image_size: { width: 1024, height: 768 } }, SMALL))).toBe('image_size');
    expect(fieldOf(fal({ image_size: 'square', aspect_ratio: '1:1' }))).toBe('aspect_ratio');
  });
});

describe('a ratio', () => {
  test.each([
    ['1:1', '1024x1024'],
    ['4:3', '1152x864'],
    ['3:4', '864x1152'],
  ])('%s has the pixels of the model’s first size, about: %s', (aspect_ratio, size) => {
    expect(sizeOf(fal({ aspect_ratio }))).toEqual([size]);
    expect(sizeOf(replicate({ aspect_ratio }))).toEqual([size]);
  });

  test('that the model does not make is told', () => {
    expect(sizeOf(replicate({ aspect_ratio: '21:9' }, SMALL))).toEqual([
      '256x128',
      'aspect_ratio 21:9: the picture has 256x128, the nearest that the model makes',
    ]);
  });

  test('has as many megapixels as are asked for, or it is told', () => {
    expect(sizeOf(replicate({ aspect_ratio: '1:1', megapixels: '0.25' }))).toEqual(['512x512']);
    expect(sizeOf(replicate({ aspect_ratio: '1:1', megapixels: '1' }, SMALL))).toEqual([
      '256x256',
      'megapixels 1: the picture has 0.063 megapixels (256x256), the nearest that the model makes',
    ]);
    expect(sizeOf(replicate({ megapixels: '1' }))).toEqual([
      '1024x1024',
      'megapixels is ignored: it belongs to an aspect_ratio',
    ]);
  });

  test('goes before width and height, which custom leaves it to', () => {
    const sides = { width: 512, height: 768 };
    expect(sizeOf(replicate({ aspect_ratio: 'custom', ...sides }))).toEqual(['512x768']);
    expect(sizeOf(replicate({ aspect_ratio: '1:1', ...sides }))).toEqual([
      '1024x1024',
      'width is ignored: aspect_ratio decides; custom leaves it to width and height',
      'height is ignored: aspect_ratio decides; custom leaves it to width and height',
    ]);
    expect(sizeOf(replicate({ size: '512x768' }))).toEqual(['512x768']);
    expect(fieldOf(replicate({ size: '512x768', aspect_ratio: '1:1' }))).toBe('input.size');
    expect(fieldOf(replicate({ size: '500x700' }))).toBe('input.size');
  });
});

describe('steps, guidance and quality', () => {
  test('are the same job in each one’s words', () => {
    const own = jobsOf(fal({ N: [9], e: [1], guidance: 5, output_format: 'webp', quality: 80 }));
    expect(jobsOf(fal({ num_inference_steps: 9, guidance_scale: 5, output_format: 'webp', quality: 80 }))).toEqual(own);
    for (const words of [
      { num_inference_steps: 9, guidance_scale: 5 },
      { steps: 9, guidance: 5 },
    ] as const)
      expect(jobsOf(replicate({ ...words, output_format: 'webp', output_quality: 80 }))).toEqual(own);
  });

  test('guidance is ignored, and told, by a model that has none; elsewhere it is held to the range', () => {
    expect(sizeOf(fal({ guidance_scale: 3.5 }, SMALL))).toEqual([
      '256x256',
      'guidance_scale is ignored: model flux-1-dev has no guidance',
    ]);
    expect(sizeOf(replicate({ guidance: 3.5 }, SMALL))[1]).toBe(
      'guidance is ignored: model flux-1-dev has no guidance',
    );
    expect(fieldOf(fal({ guidance_scale: 30 }))).toBe('guidance_scale');
    expect(fieldOf(replicate({ guidance_scale: 30 }))).toBe('input.guidance_scale');
    expect(fieldOf(replicate({ guidance: 30 }, SD3))).toBe('input.guidance');
  });

  test('of a quality png has no use, and it is told', () => {
    expect(sizeOf(replicate({ output_quality: 80 }))).toEqual([
      '1024x1024',
      'output_quality is ignored: png is lossless',
    ]);
    expect(jobsOf(replicate({ output_format: 'jpeg', output_quality: 0 }))[0]?.request.quality).toBe(1);
  });

  test.each<[string, Partial<PredictionInput>]>([
    ['input.steps', { num_inference_steps: 4, steps: 5 }],
    ['input.num_inference_steps', { num_inference_steps: 4, preset: '7x' }],
    ['input.steps', { steps: 4, speed: 7 }],
    ['input.guidance_scale', { guidance_scale: 2, guidance: 2 }],
    ['input.output_quality', { output_quality: 80, quality: 80, output_format: 'webp' }],
  ])('%s is refused beside what says the same', (field, input) => expect(fieldOf(replicate(input))).toBe(field));
});

describe('several images', () => {
  test('are as many requests for one, with following seeds', () => {
    for (const many of [fal({ num_images: 3 }), replicate({ num_outputs: 3 })])
      expect(jobsOf(many).map(({ request }) => request.seed)).toEqual([7, 8, 9]);
  });
});

describe('what changes nothing', () => {
  test('is told, but where it asks for what happens anyway', () => {
    const all = (fields: object) => Object.fromEntries(Object.keys(fields).map((name) => [name, 'x']));
    for (const [fields, warnings] of [
      [FAL_IGNORED, sizeOf(fal(all(FAL_IGNORED))).slice(1)],
      [REPLICATE_IGNORED, sizeOf(replicate(all(REPLICATE_IGNORED))).slice(1)],
    ] as const)
      expect(warnings).toEqual(Object.entries(fields).map(([name, { why }]) => `${name} is ignored: ${why}`));
    const anyway = (fields: IgnoredFields) =>
      Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.anyway?.[0] ?? null]));
    expect(sizeOf(fal(anyway(FAL_IGNORED)))).toHaveLength(1);
    expect(sizeOf(replicate(anyway(REPLICATE_IGNORED)))).toHaveLength(1);
  });

  test('headers too', () => {
    const none = { priority: null, lifecycle: null, storeIo: null };
    const warned = (headers: object) =>
      sizeOf(draftFalRequest({ prompt: 'a fox' }, ANY, tools, { ...none, ...headers })).slice(1);
    expect([warned(none), warned({ priority: 'normal', storeIo: '1' })]).toEqual([[], []]);
    expect(warned({ priority: 'low', lifecycle: '{}', storeIo: '0' }).map((text) => text.split(' ')[0])).toEqual([
      'x-fal-queue-priority',
      'x-fal-object-lifecycle-preference',
      'x-fal-store-io',
    ]);
  });
});

test.each([
  ['2', 2],
  ['1.5', 1.5],
  [undefined, null],
])('x-fal-request-timeout: %s is %s s', (header, seconds) => expect(value(startSeconds(header))).toBe(seconds));
test.each(['', '0', '-1', 'soon', '1e3', 'Infinity'])('x-fal-request-timeout: %j is refused', (header) =>
  expect(fieldOf(startSeconds(header))).toBe('x-fal-request-timeout'),
);

describe('the place in a stream of Replicate’s', () => {
  test('is read back as it was told', () => {
    for (const seen of [[0], [12], [3, 0, 7]]) expect(streamPlace(streamId(seen), seen.length)).toEqual(seen);
    expect(streamPlace('done', 2)).toBe('over');
  });

  test.each([undefined, '', 'x', '1.2', '-1', '1'.repeat(20)])('%j, which this stream never told, is the first', (id) =>
    expect(streamPlace(id, 3)).toEqual([0, 0, 0]),
  );
});

describe('a refusal of Replicate’s', () => {
  const problem = { status: 400, code: 'invalid_request', detail: 'size: got 1; must be 2' } as const;

  test('of fields, or of the whole body, is a 422 that lists them; any other is as it is', () => {
    for (const field of ['input.size', '(body)'])
      expect(viewError({ ...problem, errors: [{ field, value: 1, rule: 'must be 2' }] })).toMatchObject({
        status: 422,
        body: {
          status: 422,
          title: 'Input validation failed',
          detail: problem.detail,
          invalid_fields: [{ type: 'invalid_request', field, description: 'must be 2' }],
        },
      });
    const { status, body } = viewError({ status: 404, code: 'x', detail: 'None.' });
    expect([status, body]).toMatchObject([404, { title: 'Not found', status: 404 }]);
    expect(body).not.toHaveProperty('invalid_fields');
  });
});

describe('a model of Replicate’s', () => {
  const schemas = {
    Input: { type: 'object', properties: { prompt: {}, preset: { type: 'string' }, guidance: { type: 'number' } } },
    TemporalCache: { type: 'object' },
  };

  test('has the model’s presets and range of guidance in the schema of its input', () => {
    const { openapi_schema, id } = viewVersion(FLUX, schemas);
    expect(id).toBe('sha256:flux');
    const { components } = openapi_schema as { components: { schemas: Record<string, object> } };
    const { Input, Output, TemporalCache } = components.schemas;
    expect(TemporalCache).toBe(schemas.TemporalCache);
    expect(Output).toMatchObject({ type: 'array' });
    expect(Input).toMatchObject({
      properties: { preset: { enum: expect.arrayContaining(['plain', '7x']) }, guidance: { minimum: 1, default: 3.5 } },
    });
    expect(viewVersion(SMALL, schemas).openapi_schema).not.toHaveProperty(
      'components.schemas.Input.properties.guidance',
    );
  });

  test('is under whatever owner it was asked for by', () => {
    const shown = viewModel(FLUX, schemas, { owner: 'anybody', origin: 'https://x' });
    expect(shown).toMatchObject({
      url: 'https://x/v1/models/anybody/flux-1-dev',
      owner: 'anybody',
      name: 'flux-1-dev',
    });
    expect(shown.latest_version.id).toBe(FLUX.digest);
  });
});
