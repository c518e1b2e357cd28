import { describe, expect, it } from 'vitest';
import { draftImages } from '../../src/doors/openai-request.ts';
import type { DraftTools } from '../../src/job/plan-request.ts';
import { FLUX, SD3, value } from '../job/requests.ts';

const MODELS = [{ ...FLUX, aliases: ['dall-e-3'] }, SD3];
const tools: DraftTools = { allowEngineChange: false, tariff: null, draw: () => 1, mayEnlarge: true };
const draft = (model: string | undefined, size: string, changes: Partial<DraftTools> = {}) =>
  draftImages({ prompt: 'a red apple', size, ...(model !== undefined && { model }) }, MODELS, { ...tools, ...changes });
const jobOf = (...args: Parameters<typeof draft>) => value(draft(...args)).plan(new Map())[0]!;

describe('the size of an image request', () => {
  it('of a model by an alias is made whatever it is, at the nearest that the model has, with a warning', () => {
    const { request, plan } = jobOf('dall-e-3', '1792x1024');
    expect(request).toMatchObject({ width: 1360, height: 768, enlarge: { width: 1792, height: 1024 } });
    expect(plan.warnings).toEqual([
      'model flux-1-dev makes no 1792x1024: the picture was made at 1360x768 and enlarged 1.333 times; 1.176 percent of its width were cut off',
    ]);
  });

  it('of a model by an alias is its own where the model makes it', () => {
    const { request, plan } = jobOf('dall-e-3', '1280x1280');
    expect(request).toMatchObject({ width: 1280, height: 1280 });
    expect([request.enlarge, plan.warnings]).toEqual([undefined, []]);
  });

  it.each(['flux-1-dev', 'sd3-medium', undefined])('of model %s by its own id is one that it makes', (model) => {
    expect(draft(model, '1792x1024')).toMatchObject({ ok: false, refusal: { field: 'size', value: '1792x1024' } });
  });

  it('is one that the model makes where the deployment says so', () => {
    const rule = expect.stringMatching(/^model flux-1-dev offers/);
    expect(draft('dall-e-3', '1792x1024', { mayEnlarge: false })).toMatchObject({ refusal: { field: 'size', rule } });
  });

  it('that is too large is refused by its name here', () => {
    const rule = 'a side may have at most 2048 pixels';
    expect(draft('dall-e-3', '4096x4096')).toEqual({
      ok: false,
      refusal: { field: 'size', value: '4096x4096', rule },
    });
  });
});
