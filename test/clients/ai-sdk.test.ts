/** Vercel's AI SDK with its two OpenAI providers against the running stack. */
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, generateImage, type ImageModel } from 'ai';
import { decode } from 'fast-png';
import { beforeAll, expect, test } from 'vitest';
import { type Door, openDoor, openPoorDoor } from './doors.ts';

let rig: Door;
let providers: Record<'openai' | 'openai-compatible', (id: string) => ImageModel>;

beforeAll(async () => {
  rig = await openDoor();
  const options = { baseURL: `${rig.service.url}/v1`, apiKey: rig.service.key };
  providers = {
    openai: (id) => createOpenAI(options).image(id),
    'openai-compatible': (id) => createOpenAICompatible({ ...options, name: 'ralu' }).imageModel(id),
  };
});

test.each(['openai', 'openai-compatible'] as const)('%s: several images, each another', async (provider) => {
  const { images } = await generateImage({
    model: providers[provider]('gpt-image-1'),
    prompt: 'a red apple',
    size: '256x256',
    n: 2,
  });
  expect(images.map(({ uint8Array }) => decode(uint8Array).width)).toEqual([256, 256]);
  expect(images[0]?.base64).not.toBe(images[1]?.base64);
});

test('openai-compatible hands our own options through', async () => {
  const draw = () =>
    generateImage({
      model: providers['openai-compatible']('gpt-image-1'),
      prompt: 'a red apple',
      size: '256x256',
      providerOptions: { ralu: { seed: 7, ralu: { preset: '4x' } } },
    });
  const [one, two] = [await draw(), await draw()];
  expect(one.images[0]?.base64).toBe(two.images[0]?.base64);
});

test.each(['openai', 'openai-compatible'] as const)(
  '%s: a refusal is an APICallError with our sentence',
  async (provider) => {
    const error = await generateImage({
      model: providers[provider]('gpt-image-1'),
      prompt: 'a red apple',
      size: '4096x4096',
    }).catch((reason: unknown) => reason);
    expect(APICallError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ statusCode: 400, isRetryable: false });
    expect((error as APICallError).message).toContain('size');
  },
);

test.each(['openai', 'openai-compatible'] as const)(
  '%s: without credit it is an APICallError that is not tried again',
  async (provider) => {
    const { service } = await openPoorDoor();
    const options = { baseURL: `${service.url}/v1`, apiKey: service.key };
    const model =
      provider === 'openai'
        ? createOpenAI(options).image('gpt-image-1')
        : createOpenAICompatible({ ...options, name: 'ralu' }).imageModel('gpt-image-1');
    const error = await generateImage({ model, prompt: 'a red apple', size: '256x256' }).catch(
      (reason: unknown) => reason,
    );
    // one that was tried again would be a RetryError
    expect(APICallError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ statusCode: 402, isRetryable: false });
    expect((error as APICallError).message).toContain('0.000000 USD left');
  },
);
