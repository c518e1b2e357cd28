/** Vercel's AI SDK with its providers for fal and Replicate against the running stack. */
import { createFal } from '@ai-sdk/fal';
import { createReplicate } from '@ai-sdk/replicate';
import { APICallError, generateImage, type ImageModel } from 'ai';
import { decode } from 'fast-png';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Door, openDoor, openPoorDoor } from './doors.ts';

let rig: Door;
const providers = {
  fal: ({ url, key }) => createFal({ apiKey: key, baseURL: `${url}/fal/run` }).image('ralu/gpt-image-1'),
  replicate: ({ url, key }) => createReplicate({ apiToken: key, baseURL: `${url}/v1` }).image('ralu/gpt-image-1'),
} as const satisfies Record<string, (service: Door['service']) => ImageModel>;
const names = Object.keys(providers) as (keyof typeof providers)[];

beforeAll(async () => {
  rig = await openDoor();
});

describe.each(names)('%s: pictures, ratios and refusals', (name) => {
  test('draws as many pictures as are asked for, each another', async () => {
    const { images } = await generateImage({
      model: providers[name](rig.service),
      prompt: 'a red apple',
      size: '256x256',
      n: 2,
      seed: 7,
    });
    expect(images.map(({ uint8Array }) => decode(uint8Array).width)).toEqual([256, 256]);
  });

  test('a ratio is the nearest that the model makes', async () => {
    const { image } = await generateImage({
      model: providers[name](rig.service),
      prompt: 'a red apple',
      aspectRatio: '9:16',
    });
    const { width, height } = decode(image.uint8Array);
    expect([width, height]).toEqual([128, 256]);
  });

  test('a refusal is an APICallError with our sentence', async () => {
    const error = await generateImage({
      model: providers[name](rig.service),
      prompt: 'a red apple',
      size: '100x100',
    }).catch((reason: unknown) => reason);
    expect(APICallError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ statusCode: 422, isRetryable: false });
    expect((error as APICallError).message).toContain('256x128');
  });

  test('without credit it is an APICallError that is not tried again', async () => {
    const { service } = await openPoorDoor();
    const error = await generateImage({ model: providers[name](service), prompt: 'a red apple' }).catch(
      (reason: unknown) => reason,
    );
    // one that was tried again would be a RetryError
    expect(APICallError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ statusCode: 402, isRetryable: false });
    expect((error as APICallError).message).toContain('0.000000 USD left');
  });
});
