/** What tools say to OpenAI's address, in its words and in others. */
import { describe, expect, it } from 'vitest';
import { elsewhere } from '../../src/doors/elsewhere.ts';
import { draftImages, type ImageRequest, responseFormatOf } from '../../src/doors/openai-request.ts';
import { progressOf } from '../../src/doors/progress.ts';
import { imageBody } from '../../src/http/openai/image-body.ts';
import type { JobView } from '../../src/job/job.ts';
import type { DraftTools } from '../../src/job/plan-request.ts';
import { FLUX, SD3, value } from '../job/requests.ts';

const WIDE = { ...FLUX, sizes: [...FLUX.sizes, { width: 1344, height: 768 }] };
const NO_GUIDANCE = { ...FLUX, guidance: null };
const tools: DraftTools = { draw: () => 42, allowEngineChange: false, mayEnlarge: true, tariff: null };
const read = (body: object): ImageRequest => imageBody.parse({ prompt: 'a fox', ...body });
const planned = (body: object, facts = FLUX) => {
  const draft = value(draftImages(read(body), [facts], tools));
  return draft.plan(new Map());
};
const refusalOf = (body: object, facts = FLUX) => {
  const draft = draftImages(read(body), [facts], tools);
  return draft.ok ? null : draft.refusal;
};

describe('words for the same thing', () => {
  it.each([
    ['num_images', { num_images: 2 }, { n: 2 }],
    ['num_inference_steps', { num_inference_steps: 9 }, { steps: 9 }],
    ['guidance_scale', { guidance_scale: 5 }, { guidance: 5 }],
    ['width and height', { width: 848, height: 480 }, { size: '848x480' }],
    ['jpg', { output_format: 'jpg' }, { output_format: 'jpeg' }],
    [
      'capitals',
      { quality: 'HD', output_format: 'WebP', size: '1280X1280' },
      { quality: 'hd', output_format: 'webp', size: '1280x1280' },
    ],
    ['nothing chosen', { size: '', quality: '', model: '', style: '', background: '' }, {}],
  ])('%s', (_, theirs, ours) => {
    expect(planned(theirs)).toEqual(planned(ours));
  });

  it.each([
    ['n', { n: 2, num_images: 3 }, 'num_images'],
    ['steps', { steps: 2, num_inference_steps: 3 }, 'num_inference_steps'],
    ['guidance', { guidance: 2, guidance_scale: 3 }, 'guidance_scale'],
    ['size', { size: '720x720', width: 848 }, 'size'],
    ['one side', { width: 848 }, 'width'],
    ['a size that is not made', { width: 800, height: 480 }, 'width, height'],
    ['guidance out of range', { guidance_scale: 30 }, 'guidance_scale'],
    ['steps beside quality', { num_inference_steps: 4, quality: 'low' }, 'num_inference_steps'],
  ])('that say different things, or what no model does, are refused by name: %s', (_, body, field) => {
    expect(refusalOf(body)?.field).toBe(field);
  });
});

describe('what changes nothing', () => {
  it('is taken, and told', () => {
    const [job] = planned({ style: 'vivid', disable_safety_checker: true, guidance_scale: 7.5 }, NO_GUIDANCE);
    expect(job?.plan.warnings).toEqual([
      'style is ignored: the models have no styles',
      'disable_safety_checker is ignored: the deployment decides: its judge of prompts is asked either way',
      'guidance_scale is ignored: model flux-1-dev has no guidance',
    ]);
    expect(planned({ disable_safety_checker: false, enable_safety_checker: true })[0]?.plan.warnings).toEqual([]);
  });
});

describe('an aspect ratio', () => {
  it.each([
    ['1:1', '1024x1024', false],
    ['16:9', '1344x768', true],
    ['9:16', '1024x1024', true],
    ['auto', '1024x1024', false],
  ])('%s is met by the nearest size that the model makes', (aspect_ratio, size, isTold) => {
    const [job] = planned({ aspect_ratio }, WIDE);
    expect(`${job?.request.width}x${job?.request.height}`).toBe(size);
    expect(job?.plan.warnings.join()).toContain(isTold ? `aspect_ratio ${aspect_ratio}: the picture has ${size}` : '');
    expect(job?.plan.warnings).toHaveLength(isTold ? 1 : 0);
  });

  it('with a number of pixels takes that', () => {
    const sizes = ['1k', '1K', '2K'].map(
      (image_size) => planned({ image_size, aspect_ratio: '1:1' })[0]?.request.width,
    );
    expect(sizes).toEqual([1024, 1024, 1280]);
    expect(planned({ image_size: '1K' })[0]?.plan.warnings).toEqual([]);
  });
});

describe('the form of the answer', () => {
  it.each([
    [{ model: 'dall-e-3' }, 'url'],
    [{ model: 'DALL-E-2' }, 'url'],
    [{ model: 'dall-e-3', response_format: 'b64_json' }, 'b64_json'],
    [{ model: 'gpt-image-1' }, 'b64_json'],
    [{ model: 'dall-e-30' }, 'b64_json'],
    [{}, 'b64_json'],
    [{ response_format: 'base64' }, 'b64_json'],
    [{ response_format: 'URL' }, 'url'],
  ])('of %j is %s', (body, form) => {
    expect(responseFormatOf(read(body))).toBe(form);
  });
});

it('an unknown model is refused with every name that there is', () => {
  const draft = draftImages(read({ model: 'flux-pro' }), [FLUX, SD3], tools);
  expect(draft).toMatchObject({
    ok: false,
    refusal: { field: 'model', rule: 'must be one of flux-1-dev, sd3-medium; or flux, which mean flux-1-dev' },
  });
});

describe('progress', () => {
  const job = (status: JobView['status'], room: string) =>
    ({ status, room, plan: { stages: [{ steps: 2 }, { steps: 3 }, { steps: 5 }] } }) as unknown as JobView;
  it.each([
    ['queued', 'stage1', 0, 0],
    ['running', 'stage1', 1, 0.1],
    ['running', 'select', 0, 0.2],
    ['running', 'stage2', 0, 0.2],
    ['running', 'stage3', 5, 1],
    ['running', 'stage3', 9, 1],
    ['done', 'done', 0, 1],
  ] as const)('%s in %s after %i steps of it is %d', (status, room, step, share) => {
    expect(progressOf(job(status, room), step)).toBeCloseTo(share);
  });
});

describe('an address that is not here', () => {
  it.each(['/', '/v1', '/v1/jobs/x', '/v1x', '/modelsx', '/openai', '/v1/images', '/favicon.ico'])(
    'nothing is known of %s',
    (path) => expect(elsewhere(path)).toBeNull(),
  );

  it('is not repeated at length', () => {
    expect(elsewhere(`/chat/${'x'.repeat(1000)}`)?.detail.length).toBeLessThan(200);
  });
});

describe('a size that the model does not make', () => {
  const sizeOf = (body: object) => {
    const [job] = planned(body);
    return [job?.request.width, job?.request.height, job?.request.enlarge];
  };

  it('an alias makes from the nearest, in whichever words it is asked for', () => {
    const enlarged = [1024, 1024, { width: 512, height: 512 }];
    for (const body of [{ size: '512x512' }, { width: 512, height: 512 }])
      expect(sizeOf({ model: 'flux', ...body })).toEqual(enlarged);
    expect(sizeOf({ model: 'flux', image_size: '2K', aspect_ratio: '1:1' })).toEqual([
      1280,
      1280,
      { width: 2048, height: 2048 },
    ]);
  });

  it('a model by its own id refuses, and tells what it makes of 2K', () => {
    expect(refusalOf({ model: 'flux-1-dev', size: '512x512' })?.field).toBe('size');
    expect(planned({ model: 'flux-1-dev', image_size: '2K' })[0]?.plan.warnings).toEqual([
      'image_size 2K: the picture has 1.6 megapixels (1280x1280), the nearest that the model makes',
    ]);
  });
});
