/** The doors: one request planned and refused in each one's own words, errors and events in each one's own shapes. */
import { describe, expect, test } from 'vitest';
import { whyNoResult } from '../../src/doors/fal.ts';
import { draftFalRequest } from '../../src/doors/fal-request.ts';
import { asOne } from '../../src/doors/one-request.ts';
import { failureOf, usageOf, viewProgress } from '../../src/doors/openai.ts';
import { draftImages, findUnsupported, type ImageRequest } from '../../src/doors/openai-request.ts';
import { viewPrediction, viewStreamEnd, viewStreamEvent, viewStreamPicture } from '../../src/doors/replicate.ts';
import { deadlineSeconds, draftPrediction, waitSeconds } from '../../src/doors/replicate-request.ts';
import { draftBody } from '../../src/http/job-request.ts';
import type { StoredEvent } from '../../src/job/events.ts';
import type { FailureReason } from '../../src/job/failures.ts';
import type { LinkedJob } from '../../src/job/links.ts';
import type { FitMemo } from '../../src/job/plan.ts';
import { type Draft, type DraftTools, draftRequest, type PlannedJob } from '../../src/job/plan-request.ts';
import type { Planned } from '../../src/job/schedule-request.ts';
import { fluxFlopFacts } from '../../src/numerics/flops.ts';
import { CACHE_KINDS, type TemporalCache } from '../../src/numerics/taylor.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { call, post } from './call.ts';

const FACTS: ModelFacts = {
  id: 'flux-1-dev',
  aliases: ['flux'],
  family: 'flux.1',
  channels: 16,
  token_pixels: 16,
  sizes: [{ width: 1024, height: 1024 }],
  size_rule: null,
  upsampling: ['latent', 'token'],
  caches: ['taylor_velocity'],
  shift: [{ tokens: 4096, shift: 3 }],
  steps: 50,
  guidance: { kind: 'embedded', min: 1, max: 10, default: 3.5 },
  negative_prompt: false,
  text_tokens: 512,
  max_tokens: 4096,
  scripts: null,
  flops: fluxFlopFacts({ textTokens: 512, guidance: true }),
  digest: 'sha256:flux',
  licence: 'test',
  card: '',
};
const CACHE = { kind: 'taylor_velocity', interval: 2, order: 2, warmup: 2 } as const;
const OTHER = { ...FACTS, id: 'other', aliases: [], digest: 'sha256:other' };
const tools: DraftTools = { draw: () => 42, allowEngineChange: false, tariff: null };
const memo: FitMemo = new Map();

const value = <T>(planned: Planned<T>): T => {
  if (!planned.ok) throw new Error(JSON.stringify(planned.refusal));
  return planned.value;
};
/** The planned jobs of a draft. */
const jobsOf = (drafted: Planned<Draft>): readonly PlannedJob[] => value(drafted).plan(memo);
const fieldOf = (planned: Planned<unknown>): string | null => (planned.ok ? null : planned.refusal.field);

describe('a request for several images', () => {
  test('is as many requests for one, with following seeds', () => {
    const many = jobsOf(draftRequest({ prompt: 'a fox', seed: 2 ** 32 - 2 }, FACTS, tools, { count: 4 }));
    expect(many.map(({ request }) => request.seed)).toEqual([2 ** 32 - 2, 2 ** 32 - 1, 0, 1]);
    for (const { request, plan } of many)
      expect(jobsOf(draftRequest({ prompt: 'a fox', seed: request.seed }, FACTS, tools))).toEqual([{ request, plan }]);
  });

  test('draws one seed where none is given', () => {
    let drawn = 0;
    const draw = () => {
      drawn++;
      return 7;
    };
    const jobs = jobsOf(draftImages({ prompt: 'a fox', n: 3 }, [FACTS], { ...tools, draw }));
    expect([jobs.map(({ request }) => request.seed), drawn]).toEqual([[7, 8, 9], 1]);
  });
});

describe('each door', () => {
  test('plans the same job from its own words', () => {
    const own = jobsOf(draftRequest({ prompt: 'a fox', N: [9], e: [1], guidance: 5, seed: 7 }, FACTS, tools));
    const { plan } = own[0] as (typeof own)[0];
    const openai = draftImages({ prompt: 'a fox', steps: 9, guidance: 5, seed: 7, size: 'auto' }, [FACTS], tools);
    const fal = draftFalRequest({ prompt: 'a fox', num_inference_steps: 9, guidance_scale: 5, seed: 7 }, FACTS, tools);
    const input = { prompt: 'a fox', N: [9], e: [1], guidance: 5, seed: 7 };
    const replicate = draftPrediction(input, { field: 'version', name: 'black/flux' }, [OTHER, FACTS], tools);
    expect(jobsOf(fal)).toEqual(own);
    expect(jobsOf(replicate)).toEqual(own);
    // its stages are shown only where partial images are asked for
    expect(jobsOf(openai)).toMatchObject([{ request: { seed: 7, guidance: 5, previews: { count: 0 } }, plan }]);
  });

  test('plans a preset with a cache, and none for a quality', () => {
    const preset = '5x-taylor-3';
    const own = jobsOf(draftRequest({ prompt: 'a fox', preset, seed: 7 }, FACTS, tools));
    const { plan } = own[0] as (typeof own)[0];
    expect(plan.stages.map(({ evaluations }) => evaluations)).toEqual([3, 4, 4]);
    expect(jobsOf(draftFalRequest({ prompt: 'a fox', preset, seed: 7 }, FACTS, tools))).toEqual(own);
    const input = { prompt: 'a fox', preset, seed: 7 };
    expect(jobsOf(draftPrediction(input, { field: 'version', name: 'flux' }, [FACTS], tools))).toEqual(own);
    expect(jobsOf(draftImages({ prompt: 'a fox', seed: 7, ralu: { preset } }, [FACTS], tools))).toMatchObject([
      { request: { schedule: { preset } }, plan: { features: ['cache.taylor_velocity'] } },
    ]);
    const names = (['low', 'medium', 'high'] as const).map(
      (quality) => jobsOf(draftImages({ prompt: 'a fox', quality }, [FACTS], tools))[0]?.request.schedule.preset,
    );
    expect(names).toEqual(['7x', '5x', '4x']);
  });

  test('plans the same steps for a speed', () => {
    const input = { prompt: 'a fox', speed: 7, seed: 7 };
    const own = jobsOf(draftRequest(input, FACTS, tools));
    const { request, plan } = own[0] as (typeof own)[0];
    expect(plan.flops.plain / plan.flops.denoise).toBeGreaterThanOrEqual(7);
    expect(jobsOf(draftFalRequest(input, FACTS, tools))).toEqual(own);
    expect(jobsOf(draftPrediction(input, { field: 'version', name: 'flux' }, [FACTS], tools))).toEqual(own);
    expect(jobsOf(draftImages({ prompt: 'a fox', seed: 7, ralu: { speed: 7 } }, [FACTS], tools))).toMatchObject([
      { request: { schedule: request.schedule } },
    ]);
  });

  test('takes a size that the model’s rule allows, and names the rule where it does not', () => {
    const size_rule = { multiple: 16, min_pixels: 65_536, max_pixels: 1_048_576, max_aspect: 2 };
    const facts: ModelFacts = { ...FACTS, size_rule };
    const through = (width: number, height: number) => [
      draftBody({ prompt: 'a fox', width, height }, [facts], tools),
      draftImages({ prompt: 'a fox', size: `${width}x${height}` }, [facts], tools),
      draftFalRequest({ prompt: 'a fox', image_size: { width, height } }, facts, tools),
      draftPrediction({ prompt: 'a fox', width, height }, { field: 'version', name: 'flux' }, [facts], tools),
    ];
    for (const planned of through(768, 512))
      expect(jobsOf(planned)).toMatchObject([{ request: { width: 768, height: 512 }, plan: { rows: 32, cols: 48 } }]);
    const fields = ['width, height', 'size', 'image_size', 'input.width, input.height'];
    for (const [i, planned] of through(1040, 512).entries())
      expect(planned).toEqual({
        ok: false,
        refusal: {
          field: fields[i],
          value: '1040x512',
          rule: 'model flux-1-dev offers 1024x1024, or any size with sides that are multiples of 16, 65536 to 1048576 pixels, and the longer side at most 2 times the shorter',
        },
      });
  });

  test('takes a cache of either kind that the model has, and names the field of another', () => {
    const facts: ModelFacts = { ...FACTS, caches: ['taylor_blocks', 'taylor_velocity'] };
    const through = (cache: TemporalCache, model: ModelFacts) => [
      draftBody({ prompt: 'a fox', preset: '5x', cache }, [model], tools),
      draftImages({ prompt: 'a fox', ralu: { preset: '5x', cache } }, [model], tools),
      draftFalRequest({ prompt: 'a fox', preset: '5x', cache }, model, tools),
      draftPrediction({ prompt: 'a fox', preset: '5x', cache }, { field: 'version', name: 'flux' }, [model], tools),
    ];
    for (const kind of CACHE_KINDS)
      for (const planned of through({ ...CACHE, kind }, facts))
        expect(jobsOf(planned)).toMatchObject([{ plan: { features: [`cache.${kind}`] } }]);
    expect(through({ ...CACHE, kind: 'taylor_blocks' }, FACTS).map(fieldOf)).toEqual([
      'cache.kind',
      'ralu.cache.kind',
      'cache.kind',
      'input.cache.kind',
    ]);
  });

  test.each<[string, Partial<ImageRequest>]>([
    ['size', { size: '16x16' }],
    ['guidance', { guidance: 11 }],
    ['negative_prompt', { negative_prompt: 'blurry' }],
    ['quality', { quality: 'low', ralu: { N: [1] } }],
    ['quality', { quality: 'low', steps: 3, ralu: { preset: '4x' } }],
    ['steps', { quality: 'low', steps: 3 }],
    ['steps', { steps: 3, ralu: { h: [1] } }],
    ['steps', { steps: 2000 }],
    ['output_compression', { output_compression: 50 }],
    ['partial_images', { partial_images: 1 }],
    ['ralu.preset', { ralu: { preset: '9x' } }],
    ['ralu.e', { ralu: { N: [1] } }],
    ['ralu.z_max', { ralu: { z_max: 1 } }],
    ['ralu.speed', { ralu: { speed: 45 } }],
    ['ralu.speed', { ralu: { speed: 7, preset: '7x' } }],
    ['quality', { quality: 'low', ralu: { speed: 7 } }],
    ['steps', { steps: 3, ralu: { speed: 7 } }],
    ['ralu.upsampling', { ralu: { reference: true, upsampling: 'latent' } }],
    ['ralu.selection', { ralu: { published: true, selection: 'none' } }],
    ['ralu.solver', { ralu: { published: true, solver: 'ab2' } }],
    ['ralu.cache.warmup', { ralu: { preset: '7x', cache: { ...CACHE, warmup: 9 } } }],
    ['ralu.cache', { ralu: { published: true, cache: CACHE } }],
    ['model', { model: 'nobody' }],
  ])('OpenAI’s names %s as its body does: %j', (field, extra) => {
    expect(fieldOf(draftImages({ prompt: 'a fox', ...extra }, [FACTS], tools))).toBe(field);
  });

  test.each([
    ['input.width, input.height', { width: 16 }, undefined],
    ['input.preset', { preset: '9x' }, undefined],
    ['input.e', { N: [1] }, 'flux'],
    ['input.speed', { speed: 45 }, 'flux'],
    ['version', {}, 'nobody'],
    ['version', {}, 'black/flux:sha256'],
    [null, {}, 'flux'],
    [null, {}, 'black/flux'],
  ])('Replicate’s names %s', (field, extra, name) => {
    expect(fieldOf(draftPrediction({ prompt: 'a fox', ...extra }, { field: 'version', name }, [FACTS], tools))).toBe(
      field,
    );
  });

  test('Replicate’s takes a digest for a model', () => {
    const other = { ...OTHER, digest: 'abc' };
    for (const name of ['abc', 'any/thing:abc'])
      expect(
        jobsOf(draftPrediction({ prompt: 'a fox' }, { field: 'version', name }, [FACTS, other], tools)),
      ).toMatchObject([{ request: { model: 'other' } }]);
  });

  test.each([
    ['image_size', { image_size: { width: 16, height: 16 } }],
    ['num_inference_steps', { num_inference_steps: 3, N: [1] }],
    ['num_inference_steps', { num_inference_steps: 2000 }],
    ['guidance_scale', { guidance_scale: 11 }],
    ['guidance', { guidance: 11 }],
    ['guidance_scale', { guidance_scale: 2, guidance: 2 }],
    ['e', { N: [1] }],
    ['speed', { speed: 45 }],
    ['num_inference_steps', { num_inference_steps: 9, speed: 7 }],
  ])('fal’s names %s', (field, extra) => {
    expect(fieldOf(draftFalRequest({ prompt: 'a fox', ...extra }, FACTS, tools))).toBe(field);
  });

  test('OpenAI’s knows what it does not support, and null is none of it', () => {
    expect(findUnsupported({ complexity: 'high' })).toMatchObject({ field: 'complexity', value: 'high' });
    expect(findUnsupported({ output_format: 'gif' })).toMatchObject({ field: 'output_format' });
    for (const body of [null, [], 'x', {}, { complexity: null }, { style: 'vivid' }, { background: 'opaque' }])
      expect(findUnsupported(body)).toBeNull();
  });
});

describe('headers of Replicate’s', () => {
  test.each([
    [undefined, 0],
    ['wait', 60],
    ['wait=5', 5],
    ['respond-async, wait=90', 60],
    ['nowait', 0],
  ])('Prefer: %s waits %i s', (header, seconds) => expect(waitSeconds(header)).toBe(seconds));

  test.each([
    ['90', 90],
    ['90s', 90],
    ['1h30m', 5400],
    [undefined, null],
  ])('Cancel-After: %s is %s s', (header, seconds) => expect(value(deadlineSeconds(header))).toBe(seconds));

  test.each(['', '0s', '25h', 'soon', '1d'])('Cancel-After: %j is refused', (header) =>
    expect(fieldOf(deadlineSeconds(header))).toBe('cancel-after'),
  );
});

/** What each reason is for OpenAI, fal and Replicate. A new reason does not compile until it is decided here. */
const STATUSES: Readonly<Record<FailureReason, readonly [openai: number, fal: number, replicate: string]>> = {
  refused: [400, 500, 'failed'],
  no_capacity: [503, 500, 'failed'],
  not_confirmed: [503, 500, 'failed'],
  deadline_exceeded: [500, 500, 'canceled'],
  unreachable: [500, 500, 'failed'],
  server_error: [500, 500, 'failed'],
  gateway: [500, 500, 'failed'],
  invalid_response: [500, 500, 'failed'],
  reported: [500, 500, 'failed'],
  timeout: [500, 500, 'failed'],
  storage_failed: [500, 500, 'failed'],
  model_failed: [500, 500, 'failed'],
  orphaned: [500, 500, 'failed'],
  draining: [500, 500, 'failed'],
  not_finite: [500, 500, 'failed'],
  cancelled: [500, 500, 'failed'],
  model_changed: [500, 500, 'failed'],
  engine_changed: [500, 500, 'failed'],
  interrupted: [500, 500, 'failed'],
  unreadable: [500, 500, 'failed'],
  internal_error: [500, 500, 'failed'],
};

const JOB: LinkedJob = {
  request: {} as LinkedJob['request'],
  id: 'job_1',
  object: 'job',
  status: 'failed',
  room: 'failed',
  created_at: 1,
  finished_at: 2,
  expires_at: 3,
  model: 'flux-1-dev',
  prompt: 'a fox',
  width: 1024,
  height: 1024,
  enlarged: null,
  seed: 7,
  preset: '7x',
  output_format: 'png',
  plan: { warnings: [] } as unknown as LinkedJob['plan'],
  image: null,
  receipt: null,
  error: null,
  cost: null,
  deadline_at: null,
  queue: null,
  webhook: null,
  urls: { get: '', events: '', image: '', thumbnail: null, cancel: '' },
  links: { events: '', image: '', thumbnail: null, expires_at: 0 },
};

describe('a job without an image', () => {
  test.each(Object.entries(STATUSES))('that failed by %s', (reason, [openai, fal, replicate]) => {
    const error = { reason: reason as FailureReason, message: 'A sentence.', stage: 1, attempts: 2 };
    expect(failureOf({ id: 'job_1', error })).toEqual({ status: openai, code: reason, detail: 'A sentence.' });
    expect(whyNoResult({ status: 'failed', error })).toEqual({ status: fal, code: reason, detail: 'A sentence.' });
    const prediction = viewPrediction(asOne([{ job: { ...JOB, error }, logs: [] }]), {
      origin: 'http://x',
      streamToken: 't',
    });
    expect([prediction.status, prediction.error]).toEqual([replicate, replicate === 'failed' ? 'A sentence.' : null]);
  });

  test('because it was cancelled, or is not done', () => {
    expect(failureOf({ id: 'job_1', error: null })).toMatchObject({ status: 410, code: 'job_cancelled' });
    expect(whyNoResult({ status: 'cancelled', error: null })).toMatchObject({ status: 499 });
    for (const status of ['queued', 'running'] as const)
      expect(whyNoResult({ status, error: null })).toMatchObject({ status: 400, code: 'in_progress' });
    expect(() => whyNoResult({ status: 'done', error: null })).toThrow(RangeError);
  });
});

describe('events', () => {
  const at = { seq: 1, at: 5 };
  const preview = {
    ...at,
    type: 'preview',
    data: { stage: 1, format: 'webp', width: 512, height: 512, b64_json: 'AAAA' },
  } as const;
  const step = { ...at, type: 'step', data: { stage: 2, step: 1, steps: 3, sigma: 0.5, ms: 9 } } as const;
  const place = { asked: {}, job: JOB, image_index: 1, partial_image_index: 0 };

  test('are partial images of their own size, or ours under their own name, at OpenAI’s', () => {
    expect(viewProgress(preview, place)).toMatchObject({
      type: 'image_generation.partial_image',
      size: '512x512',
      output_format: 'webp',
      b64_json: 'AAAA',
      image_index: 1,
    });
    expect(viewProgress(step, place)).toEqual({ ...step.data, job_id: 'job_1', image_index: 1, type: 'ralu.step' });
    for (const event of [preview, step]) expect(viewProgress(event, place)).not.toHaveProperty('error');
  });

  test('are output, logs, error and done at Replicate’s', () => {
    expect(viewStreamEvent(preview)).toEqual([['output', 'data:image/webp;base64,AAAA']]);
    expect(viewStreamEvent(step)).toEqual([]);
    const failure = {
      job_id: 'job_1',
      reason: 'timeout',
      message: 'Too slow.',
      stage: 1,
      attempts: 1,
      cost: null,
    } as const;
    expect(viewStreamEnd({ ...at, type: 'failed', data: failure })).toEqual([
      ['error', 'Too slow.'],
      ['done', '{"reason": "error"}'],
    ]);
    const receipt = { wall_ms: { total: 12 } };
    const done = { ...at, type: 'done', data: { job_id: 'job_1', receipt } } as unknown as Extract<
      StoredEvent,
      { type: 'done' }
    >;
    const picture = ['output', 'http://x/image'];
    // an event of an older version says nothing of a cost
    expect(viewStreamPicture(done, 'http://x/image')).toEqual([['logs', 'done in 12 ms'], picture]);
    const cost = { usd: '0.000009', quote_usd: '0.000009', plain_usd: '0.000051', tariff: 'a' };
    expect(viewStreamPicture({ ...done, data: { ...done.data, cost } }, 'http://x/image')).toEqual([
      ['logs', 'done in 12 ms'],
      ['logs', 'it cost 0.000009 USD'],
      picture,
    ]);
    expect(viewStreamEnd(null)).toEqual([['done', '{}']]);
  });

  test('usage counts a token once for every evaluation that carried it, and not for a forecast step', () => {
    const receipt = (stages: object[]) => ({ stages }) as unknown as Parameters<typeof usageOf>[0][0];
    const receipts = [
      receipt([
        { tokens: 64, steps: 2, evaluations: 2 },
        { tokens: 256, steps: 5, evaluations: 3 },
      ]),
      receipt([{ tokens: 10, steps: 1, evaluations: 1 }]),
    ];
    expect(usageOf(receipts)).toMatchObject({ output_tokens: 64 * 2 + 256 * 3 + 10, input_tokens: 0 });
  });
});

describe('what is no request at all is refused in the door’s shape', () => {
  const json = { 'content-type': 'application/json' };
  const cases: readonly [string, number, RequestInit][] = [
    ['malformed JSON', 400, { headers: json, body: '{"prompt": ' }],
    ['another content type', 415, { headers: { 'content-type': 'text/plain' }, body: '{"prompt": "a fox"}' }],
    ['a body over the limit', 413, { headers: json, body: JSON.stringify({ prompt: 'a'.repeat(300_000) }) }],
    ['a list', 400, { headers: json, body: '[]' }],
    ['no key', 401, { headers: json, body: '{"prompt": "a fox"}' }],
  ];

  test.each(cases)('%s', async (name, status, init) => {
    const send = (path: string) => call(path, { method: 'POST', ...init, ...(name === 'no key' && { key: null }) });
    const openai = await send('/v1/images/generations');
    expect([openai.status, openai.headers.get('content-type')]).toEqual([status, 'application/json']);
    expect(await openai.json()).toEqual({
      error: {
        message: expect.stringMatching(/\w/),
        type: status === 401 ? 'authentication_error' : 'invalid_request_error',
        param: expect.toSatisfy((param) => param === null || typeof param === 'string'),
        code: expect.stringMatching(/^[a-z_]+$/),
      },
    });

    const fal = await send('/fal/queue/ralu/flux');
    expect([fal.status, fal.headers.get('content-type')]).toEqual([status === 400 ? 422 : status, 'application/json']);
    const { detail } = await fal.json<{ detail: unknown }>();
    if (status === 400) expect(detail).toEqual([{ loc: ['body'], msg: expect.any(String), type: 'invalid_request' }]);
    else expect(detail).toEqual(expect.stringMatching(/\w/));

    const replicate = await send('/v1/predictions');
    const shown = status === 400 ? 422 : status;
    expect([replicate.status, replicate.headers.get('content-type')]).toEqual([shown, 'application/problem+json']);
    expect(await replicate.json()).toMatchObject({
      status: shown,
      title: expect.any(String),
      detail: expect.any(String),
      ...(status === 400 && { invalid_fields: [{ field: '(body)' }] }),
    });
  });

  test('a field is named where the caller wrote it', async () => {
    const openai = await post('/v1/images/generations', { prompt: 'a fox', size: '16x16' });
    expect(await openai.json()).toMatchObject({ error: { param: 'size', code: 'invalid_value' } });
    const unknown = await post('/v1/images/generations', { prompt: 'a fox', colour: 'red' });
    expect(await unknown.json()).toMatchObject({ error: { param: 'colour', code: 'unsupported_parameter' } });
    const replicate = await post('/v1/predictions', { input: { prompt: 'a fox', width: 16 } });
    expect([replicate.status, await replicate.json()]).toMatchObject([
      422,
      {
        status: 422,
        title: 'Input validation failed',
        errors: [{ field: 'input.width, input.height' }],
        invalid_fields: [{ field: 'input.width, input.height', type: 'invalid_request' }],
      },
    ]);
    const version = await post('/v1/predictions', { version: 'nobody', input: { prompt: 'a fox' } });
    expect(await version.json()).toMatchObject({ errors: [{ field: 'version', value: 'nobody' }] });
    const { data } = await (await call('/v1/models')).json<{ data: { id: string }[] }>();
    const fal = await post(`/fal/queue/ralu/${data[0]?.id}`, {
      prompt: 'a fox',
      image_size: { width: 16, height: 16 },
    });
    expect([fal.status, await fal.json()]).toMatchObject([422, { detail: [{ loc: ['body', 'image_size'] }] }]);
    const nobody = await post('/fal/queue/ralu/nobody/text/to-image', { prompt: 'a fox' });
    expect([nobody.status, await nobody.json()]).toMatchObject([
      404,
      { detail: expect.stringContaining('text/to-image') },
    ]);
  });
});
