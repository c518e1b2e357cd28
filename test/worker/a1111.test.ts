/** AUTOMATIC1111's API: what its tools send, and what they read. */
import { decode } from 'fast-png';
import { describe, expect, test } from 'vitest';
import { currentOf } from '../../src/doors/a1111.ts';
import { draftA1111 } from '../../src/doors/a1111-request.ts';
import { a1111Body } from '../../src/http/a1111-body.ts';
import type { JobView } from '../../src/job/job.ts';
import type { DraftTools, PlannedJob } from '../../src/job/plan-request.ts';
import { FLUX, SD3, value } from '../job/requests.ts';
import { call, KEY, openAccount, post } from './call.ts';

const tools: DraftTools = {
  draw: () => 42,
  allowEngineChange: false,
  mayEnlarge: true,
  metadata: true,
  tariff: null,
};
const draft = (body: object, facts = FLUX) => draftA1111(a1111Body.parse({ prompt: 'a fox', ...body }), [facts], tools);
const planned = (body: object, facts = FLUX) => value(draft(body, facts)).plan(new Map());
const refusalOf = (body: object) => {
  const made = draft(body);
  return made.ok ? null : made.refusal;
};

/** What webuiapi sends where a program says nothing but a prompt. */
const WEBUIAPI = {
  enable_hr: false,
  hr_scale: 2,
  hr_upscaler: 'Latent',
  hr_second_pass_steps: 0,
  hr_resize_x: 0,
  hr_resize_y: 0,
  hr_checkpoint_name: null,
  hr_prompt: '',
  denoising_strength: 0.7,
  firstphase_width: 0,
  firstphase_height: 0,
  styles: [],
  seed: -1,
  subseed: -1,
  subseed_strength: 0,
  seed_resize_from_h: 0,
  seed_resize_from_w: 0,
  batch_size: 1,
  n_iter: 1,
  steps: 20,
  cfg_scale: 7,
  width: 512,
  height: 512,
  restore_faces: false,
  tiling: false,
  do_not_save_samples: false,
  do_not_save_grid: false,
  negative_prompt: '',
  eta: 1,
  s_churn: 0,
  s_tmax: 0,
  s_tmin: 0,
  s_noise: 1,
  override_settings: {},
  override_settings_restore_afterwards: true,
  sampler_name: 'Euler a',
  scheduler: 'automatic',
  sampler_index: 'Euler a',
  script_name: null,
  script_args: [],
  send_images: true,
  save_images: false,
  alwayson_scripts: {},
};

describe('a request', () => {
  test('as a library sends it by itself is taken, and what is not meant is told', () => {
    const { script_name: _, hr_checkpoint_name: __, ...sent } = WEBUIAPI;
    const [job] = planned(sent);
    expect(job?.request).toMatchObject({
      width: 1024,
      enlarge: { width: 512, height: 512 },
      solver: 'euler',
      seed: 42,
    });
    expect(job?.request.schedule.steps).toEqual([20]);
    expect(job?.plan.warnings).toEqual([
      'cfg_scale is ignored: model flux-1-dev is not guided by a prompt to avoid',
      'model flux-1-dev makes no 512x512: the picture was made at 1024x1024 and reduced to 50 percent',
      'sampler_name is ignored: the picture is made with Euler',
    ]);
  });

  test('means guidance and what is to be avoided where the model has them', () => {
    const [guided] = planned({ cfg_scale: 5, negative_prompt: 'rain' }, SD3);
    expect(guided?.request).toMatchObject({ guidance: 5, negativePrompt: 'rain' });
    const [distilled] = planned({ cfg_scale: 1, distilled_cfg_scale: 4, negative_prompt: 'rain' });
    expect(distilled?.request).toMatchObject({ guidance: 4, negativePrompt: '' });
    expect(distilled?.plan.warnings).toEqual(['negative_prompt is ignored: model flux-1-dev takes none']);
  });

  test.each([
    ['AB2', { solver: 'ab2' }],
    ['ab2', { solver: 'ab2' }],
    ['k_euler', { solver: 'euler' }],
  ])('sampler %s is a solver', (sampler_name, expected) => {
    const [job] = planned({ sampler_name });
    expect(job?.request).toMatchObject(expected);
    expect(job?.plan.warnings).toEqual([]);
  });

  test('a scheduler may be a preset, whose steps go first', () => {
    const [job] = planned({ scheduler: '5x', steps: 20 });
    expect(job?.request.schedule.preset).toBe('5x');
    expect(job?.plan.warnings).toEqual(['steps is ignored: 5x has steps of its own']);
    const [other] = planned({ scheduler: 'Karras' });
    expect(other?.request.schedule.preset).toBe('7x');
    expect(other?.plan.warnings).toEqual(['scheduler is ignored: steps are spaced as the model has them']);
  });

  test.each(['avif', 'constructor', '__proto__'])(
    'a format %s that is not there is a png, and told',
    (samples_format) => {
      const [{ request, plan }] = planned({ override_settings: { samples_format } }) as [PlannedJob];
      expect([request.format, plan.warnings]).toEqual([
        'png',
        ['override_settings.samples_format is ignored: the picture is a png'],
      ]);
    },
  );

  test.each([
    ['the first that waits for nobody', ['running/waits', 'running', 'queued'], 1],
    ['the first, where all wait', ['done', 'running/waits', 'queued'], 1],
    ['none, where all have ended', ['done', 'failed'], -1],
  ])('of several jobs the one that is drawn now is %s', (_, states, at) => {
    const jobs = states.map((state) => {
      const [status, waits] = state.split('/');
      return { status: status as JobView['status'], queue: waits ? { position: 1, eta_ms: null } : null };
    });
    expect(jobs.indexOf(currentOf(jobs) as (typeof jobs)[number])).toBe(at);
  });

  test('batch_size times n_iter are its images, with seeds that follow', () => {
    expect(planned({ batch_size: 2, n_iter: 2, seed: 7 }).map(({ request }) => request.seed)).toEqual([7, 8, 9, 10]);
  });

  test('settings name the model, the format, and whether pictures of stages are wanted', () => {
    const settings = { sd_model_checkpoint: 'flux [0123abcd]', samples_format: 'jpg', live_previews_enable: false };
    expect(planned({})[0]?.request.metadata).toBe(true);
    const [job] = planned({ override_settings: { ...settings, enable_pnginfo: false, sd_vae: 'x', sd_unet: 'y' } });
    expect(job?.request.metadata).toBeUndefined();
    expect(job?.request).toMatchObject({ model: 'flux-1-dev', format: 'jpeg', previews: { count: 0 } });
    expect(job?.plan.warnings).toEqual(['override_settings.sd_vae and 1 more are ignored']);
  });

  test.each([
    ['enable_hr', { enable_hr: true }],
    ['tiling', { tiling: 'true' }],
    ['script_name', { script_name: 'x/y/z plot' }],
    ['alwayson_scripts', { alwayson_scripts: { ControlNet: { args: [{}] } } }],
    ['n_iter', { n_iter: 6, batch_size: 2 }],
    ['override_settings.sd_model_checkpoint', { override_settings: { sd_model_checkpoint: 'nobody' } }],
    ['distilled_cfg_scale', { distilled_cfg_scale: 50 }],
    ['width, height', { width: 9000, height: 9000 }],
    ['seed', { seed: 1.5 }],
  ])('is refused by %s, where ignoring it would make another picture', (field, body) => {
    const parsed = a1111Body.safeParse({ prompt: 'a fox', ...body });
    expect(parsed.success ? refusalOf(body)?.field : String(parsed.error.issues[0]?.path)).toBe(field);
  });
});

interface Progress {
  readonly progress: number;
  readonly state: { readonly job: string; readonly job_count: number; readonly sampling_steps: number };
  readonly current_image: string | null;
}
/** Asked now and then, as tools do. */
async function progressOf(key: string): Promise<Progress> {
  await new Promise((resolve) => setTimeout(resolve, 20));
  return (await call('/sdapi/v1/progress', { key })).json();
}
const basic = (text: string) => ({ key: null, headers: { authorization: `Basic ${btoa(text)}` } });

describe('over HTTP', () => {
  test('a picture, with what was done as A1111 tells it', async () => {
    const response = await post('/sdapi/v1/txt2img', {
      ...WEBUIAPI,
      prompt: 'a fox',
      seed: 7,
      batch_size: 2,
      steps: 3,
    });
    expect(response.status).toBe(200);
    expect(response.headers.get('x-ralu-job-id')).toMatch(/^job_\w+, job_\w+$/);
    const answer = await response.json<{ images: string[]; info: string; parameters: object; warnings: string[] }>();
    const [first, second] = answer.images.map((image) =>
      decode(Uint8Array.from(atob(image), (char) => char.charCodeAt(0))),
    );
    expect([first?.width, first?.height]).toEqual([512, 512]);
    const info = JSON.parse(answer.info);
    expect(info).toMatchObject({
      seed: 7,
      all_seeds: [7, 8],
      width: 512,
      height: 512,
      steps: 3,
      sampler_name: 'Euler',
    });
    expect(info.infotexts[1]).toMatch(
      /^a fox\nSteps: 3, Sampler: Euler, .*Seed: 8, Size: \d+x\d+, .*Enlarged to: 512x512, Model hash: \S+, Model/,
    );
    expect(info.infotexts).toEqual([first, second].map((picture) => picture?.text.parameters));
    expect(answer.warnings).toContain('sampler_name is ignored: the picture is made with Euler');
    expect(answer.parameters).toMatchObject({ prompt: 'a fox', cfg_scale: 7 });
  });

  test('progress shows what the key itself has under way, and interrupt stops it', async () => {
    const [mine, other] = [await openAccount(), await openAccount()];
    expect(await progressOf(mine)).toMatchObject({ progress: 0, state: { job_count: 0 }, current_image: null });
    const body = { prompt: 'a fox', width: 256, height: 256, steps: 900, batch_size: 2 };
    const drawing = post('/sdapi/v1/txt2img', body, mine);
    let seen = await progressOf(mine);
    for (const until = Date.now() + 30_000; Date.now() < until && seen.progress === 0; ) {
      seen = await progressOf(mine);
    }
    expect(seen.progress).toBeGreaterThan(0);
    expect(seen.progress).toBeLessThan(1);
    expect(seen.state).toMatchObject({ job_count: 2, sampling_steps: 900 });
    expect(await progressOf(other)).toMatchObject({ progress: 0 });
    expect((await call('/sdapi/v1/interrupt', { key: other, method: 'POST' })).status).toBe(200);
    expect((await progressOf(mine)).state.job_count).toBe(2);
    expect((await call('/sdapi/v1/interrupt', { key: mine, method: 'POST' })).status).toBe(200);
    const interrupted = await drawing;
    expect(interrupted.status).toBe(410);
    expect(await interrupted.json()).toEqual({ detail: expect.stringContaining('was cancelled') });
    expect(await progressOf(mine)).toMatchObject({ progress: 0, state: { job: '' } });
  });

  test('the picture of the last stage comes with the progress', async () => {
    const key = await openAccount();
    const body = { prompt: 'a fox', width: 256, height: 256, scheduler: '4x', batch_size: 6, n_iter: 1 };
    let ended = false;
    const drawing = post('/sdapi/v1/txt2img', body, key).finally(() => {
      ended = true;
    });
    let picture: string | null = null;
    while (!ended && picture === null) {
      ({ current_image: picture } = await progressOf(key));
    }
    await (await drawing).body?.cancel();
    expect(decode(Uint8Array.from(atob(picture ?? ''), (char) => char.charCodeAt(0))).width).toBe(128);
  });

  test('the key is the password, under any name, or a bearer', async () => {
    expect((await call('/sdapi/v1/sd-models', basic(`anyone:${KEY}`))).status).toBe(200);
    expect((await call('/sdapi/v1/sd-models')).status).toBe(200);
    for (const text of [`${KEY}:`, KEY, 'a:b', ':'])
      expect((await call('/sdapi/v1/sd-models', basic(text))).status, text).toBe(401);
    const none = await call('/sdapi/v1/samplers', { key: null });
    expect([none.status, await none.json()]).toEqual([401, { detail: expect.stringContaining('Send the key') }]);
    // no other door takes it there
    expect((await call('/v1/models', basic(`anyone:${KEY}`))).status).toBe(401);
  });

  test('lists say what there is, and what there is not', async () => {
    const read = async (path: string) => (await call(`/sdapi/v1/${path}`)).json<unknown>();
    const [model] = (await read('sd-models')) as { title: string; hash: string }[];
    expect(await read('options')).toMatchObject({ sd_model_checkpoint: model?.title, samples_format: 'png' });
    expect(await read('samplers')).toMatchObject([{ name: 'Euler' }, { name: 'AB2' }]);
    const [first, ...presets] = (await read('schedulers')) as { name: string; label: string }[];
    expect(first).toMatchObject({ name: 'automatic', label: 'Automatic' });
    expect(presets.map(({ name }) => name)).toContain('7x');
    for (const none of ['loras', 'sd-vae', 'prompt-styles', 'face-restorers']) expect(await read(none)).toEqual([]);
    expect(await read('scripts')).toEqual({ txt2img: [], img2img: [] });
  });

  test('options are looked at and not kept: another model is refused', async () => {
    const { sd_model_checkpoint: first, ...others } = await (await call('/sdapi/v1/options')).json<{
      sd_model_checkpoint: string;
    }>();
    const same = await post('/sdapi/v1/options', { ...others, sd_model_checkpoint: first });
    expect([same.status, await same.json()]).toEqual([200, null]);
    const ignored = await post('/sdapi/v1/options', { CLIP_stop_at_last_layers: 2 });
    expect(await ignored.json()).toEqual({ warnings: ['CLIP_stop_at_last_layers is ignored: no options are kept'] });
    const unknown = await post('/sdapi/v1/options', { sd_model_checkpoint: 'nobody' });
    expect([unknown.status, await unknown.json()]).toEqual([
      422,
      {
        detail: [
          { loc: ['body', 'sd_model_checkpoint'], msg: expect.stringContaining(first), type: 'invalid_request' },
        ],
      },
    ]);
  });
});

describe('png-info', () => {
  interface PngInfo {
    readonly info: string;
    readonly items: Readonly<Record<string, string>>;
    readonly parameters: Readonly<Record<string, string>>;
  }
  const ask = (body: object) => post('/sdapi/v1/png-info', body);

  test.each(['png', 'jpg', 'webp'])('tells the settings of a picture in %s, also from a data URI', async (format) => {
    const drawn = await post('/sdapi/v1/txt2img', {
      prompt: 'a fox, größer',
      seed: 7,
      steps: 3,
      override_settings: { samples_format: format },
    });
    const { images, info } = await drawn.json<{ images: [string]; info: string }>();
    const [image] = images;
    const told = await (await ask({ image })).json<PngInfo>();
    expect(told.info).toBe(JSON.parse(info).infotexts[0]);
    expect(told.parameters).toMatchObject({ Prompt: 'a fox, größer', Steps: '3', Sampler: 'Euler', Seed: '7' });
    expect(JSON.parse(told.items.ralu ?? '')).toMatchObject({ ralu: 1, request: { seed: 7 } });
    expect(await (await ask({ image: `data:image/${format};base64,${image}` })).json<PngInfo>()).toEqual(told);
  });

  test.each([
    ['no base64', { image: 'https://example.com/a.png' }],
    ['no picture', { image: btoa('GIF89a, and nothing else') }],
    ['nothing', { image: '' }],
    ['absent', {}],
  ])('refuses what is %s, in the shape of the API', async (_, body) => {
    const response = await ask(body);
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ detail: [{ loc: ['body', 'image'] }] });
  });

  test('takes a file far longer than other bodies, and no endless one', async () => {
    const picture = (bytes: number) => btoa(`\x89PNG\r\n\x1a\n${'\0'.repeat(bytes)}`);
    expect(await (await ask({ image: picture(10_000_000) })).json()).toEqual({ info: '', items: {}, parameters: {} });
    const refused = await ask({ image: picture(13_000_000) });
    expect([refused.status, await refused.json()]).toEqual([413, { detail: expect.stringContaining('16777216') }]);
    // whichever other address it is sent to
    expect((await post('/sdapi/v1/options', { image: picture(300_000) })).status).toBe(413);
  });
});
