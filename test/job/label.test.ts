import fc from 'fast-check';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { readLabel } from '../../scripts/generate/label.ts';
import { againOf, labelled, settingsText } from '../../src/job/label.ts';
import { draftRequest, type RequestInput } from '../../src/job/plan-request.ts';
import type { ImageFormat, ModelFacts } from '../../src/stage/contract.ts';
import { FLUX, SD3, value } from './requests.ts';

const tools = { allowEngineChange: false, tariff: null, draw: () => 41, mayEnlarge: true, metadata: true };
const memo = new Map();
const jobOf = (input: Partial<RequestInput>, facts: ModelFacts = FLUX) =>
  value(draftRequest({ prompt: 'a red apple', ...input }, facts, tools)).plan(memo)[0]!;
const picture = (format: ImageFormat): Promise<Buffer> =>
  sharp({ create: { width: 33, height: 17, channels: 3, background: '#a03020' } })
    .toFormat(format)
    .toBuffer();
const settingsOf = ({ request, plan }: ReturnType<typeof jobOf>): string =>
  settingsText(againOf(request, plan).request, { steps: request.schedule.steps, digest: plan.model.digest });
const FORMATS = ['png', 'jpeg', 'webp'] as const;

describe('the settings of a picture', () => {
  it('are as AUTOMATIC1111 writes them', () => {
    const job = jobOf({ preset: '7x', seed: 7, guidance: 5, enlarge: { width: 2048, height: 2048 } });
    expect(settingsOf(job)).toBe(
      'a red apple\nSteps: 10, Sampler: Euler, Schedule type: 7x, CFG scale: 5, Seed: 7, Size: 1024x1024, Enlarged to: 2048x2048, Model hash: flux, Model: flux-1-dev, Model digest: "sha256:flux", Version: ralu',
    );
  });

  it('have a line for the negative prompt, and name a schedule of its own by its steps', () => {
    const job = jobOf({ N: [2, 3], e: [0.3, 1], negative_prompt: 'blue', solver: 'ab2' }, SD3);
    expect(settingsOf(job).split('\n').slice(1)).toEqual([
      'Negative prompt: blue',
      expect.stringMatching(
        /^Steps: 5, Sampler: Adams-Bashforth 2, Schedule type: custom 2-3, CFG scale: 7, Seed: 41,/,
      ),
    ]);
  });

  // as `parse_generation_parameters` does it: the last line, names and values by this expression
  it('are read back as they are from their last line', () => {
    const last = settingsOf(jobOf({ prompt: 'one, two\nSteps: none', preset: 'plain' }))
      .split('\n')
      .at(-1) as string;
    const found = [...last.matchAll(/\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)/g)];
    expect(Object.fromEntries(found.map(([, name, text]) => [name, text]))).toMatchObject({
      Steps: '50',
      'Schedule type': 'plain',
      Seed: '41',
      Size: '1024x1024',
      'Model digest': '"sha256:flux"',
    });
  });
});

describe('the request that makes a picture again', () => {
  const INPUTS: readonly (readonly [string, Partial<RequestInput>, ModelFacts?])[] = [
    ['nothing but a prompt', {}],
    [
      'a preset, another size and format',
      { preset: '4x', width: 1280, height: 1280, output_format: 'webp', quality: 40 },
    ],
    ['a preset with a cache', { preset: '5x-taylor-2' }],
    ['a published schedule', { preset: '7x', published: true }],
    ['a published schedule with a cache', { preset: '5x-taylor-3', published: true }],
    ['a cache of its own', { preset: 'plain', cache: { kind: 'taylor_velocity', interval: 2, order: 1, warmup: 3 } }],
    ['the plain run', { preset: 'plain', solver: 'ab2' }],
    ['no selection', { preset: '7x', selection: 'none' }],
    ['selection by latents, bounded Z', { preset: '5x', selection: 'latent', z_max: 5, r: 0.4 }],
    ['a schedule of its own', { N: [2, 2, 2, 2], e: [0.2, 0.3, 0.5, 1], r: [0.1, 0.5] }],
    ['a schedule with h and Z', { N: [3, 4], e: [0.3, 1], h: [5, 3], Z: 6 }],
    ['one stage of its own', { N: [9], e: [1] }],
    ['a speed', { speed: 6 }],
    ['the reference', { reference: true }],
    ['an enlargement', { enlarge: { width: 1500, height: 1000 } }],
    ['a negative prompt and a guidance', { negative_prompt: 'blue', guidance: 1.5, upsampling: 'token' }, SD3],
  ];

  it.each(INPUTS.map(([what, input, facts = FLUX]) => ({ what, input, facts })))(
    'is the one that made it: $what',
    ({ input, facts }) => {
      const { request, plan } = jobOf(input, facts);
      const again = againOf(request, plan);
      expect(again).toMatchObject({ ralu: 1, model_digest: facts.digest });
      const body = JSON.parse(JSON.stringify(again.request)) as RequestInput & { model: string };
      const made = value(draftRequest(body, facts, { ...tools, draw: () => 9 })).plan(memo)[0]!;
      expect(body.model).toBe(facts.id);
      expect(made.request).toEqual({ ...request, isOwnSchedule: made.request.isOwnSchedule });
      expect({ ...made.plan, fitted: plan.fitted }).toEqual(plan);
      expect(againOf(made.request, made.plan)).toEqual(again);
    },
  );
});

describe('a picture with its settings', () => {
  it.each(FORMATS)('keeps its pixels as %s, and is the same for equal requests', async (format) => {
    const { request, plan } = jobOf({ output_format: format, prompt: 'ein roter Apfel, ñandú' });
    const file = await picture(format);
    const told = labelled(file, request, plan);
    expect(await sharp(told).raw().toBuffer()).toEqual(await sharp(file).raw().toBuffer());
    expect((await sharp(told).metadata()).format).toBe(format);
    expect(labelled(file, request, plan)).toEqual(told);
    expect(told.length).toBeGreaterThan(file.length);
  });

  it.each(FORMATS)('gives them back as %s, whatever the prompt is', async (format) => {
    const file = await picture(format);
    const text = fc.oneof(
      fc.uint16Array({ minLength: 1, maxLength: 40 }).map((units) => String.fromCharCode(...units)),
      fc.uint8Array({ minLength: 1, maxLength: 40 }).map((units) => String.fromCharCode(...units)),
      fc.constantFrom('苹果 🍎\nñ', 'ñandú'),
    );
    await fc.assert(
      fc.asyncProperty(text, async (prompt) => {
        const { request, plan } = jobOf({ prompt, output_format: format });
        const { again, parameters } = await readLabel(labelled(file, request, plan));
        expect(again).toEqual(JSON.parse(JSON.stringify(againOf(request, plan))));
        expect(parameters).toBe(settingsOf({ request, plan }));
      }),
      { numRuns: 60 },
    );
  });

  it('comes as it is where the request wants none, or it is no such file', async () => {
    const { request, plan } = jobOf({ metadata: false });
    const file = await picture('png');
    expect(request.metadata).toBe(undefined);
    expect(labelled(file, request, plan)).toBe(file);
    const odd = new Uint8Array([1, 2, 3]);
    for (const format of FORMATS) expect(labelled(odd, { ...request, format, metadata: true }, plan)).toBe(odd);
  });

  it('keeps what a JPEG has room for: the request, or nothing', async () => {
    const file = await picture('jpeg');
    const of = (prompt: string) => {
      const { request, plan } = jobOf({ prompt, output_format: 'jpeg' });
      return labelled(file, request, plan);
    };
    expect(await readLabel(of('a'.repeat(15_000)))).toMatchObject({
      again: { request: { prompt: 'a'.repeat(15_000) } },
      parameters: expect.stringMatching(/^a{15000}\nSteps/),
    });
    expect(await readLabel(of('a'.repeat(30_000)))).toMatchObject({
      again: { request: { prompt: 'a'.repeat(30_000) } },
      parameters: '',
    });
    expect(of('é'.repeat(32_000))).toBe(file);
  });
});
