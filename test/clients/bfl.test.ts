/** Vercel's AI SDK with its provider for Black Forest Labs against the running stack. */
import { createBlackForestLabs } from '@ai-sdk/black-forest-labs';
import { APICallError, generateImage } from 'ai';
import { decode } from 'fast-png';
import { beforeAll, expect, test } from 'vitest';
import { type Door, openDoor, openPoorDoor } from './doors.ts';

let rig: Door;
const modelAt = ({ service }: Door, name = 'gpt-image-1') =>
  createBlackForestLabs({ baseURL: `${service.url}/bfl/v1`, apiKey: service.key, pollIntervalMillis: 50 }).image(name);

beforeAll(async () => {
  rig = await openDoor();
});

test('submits, polls and fetches a picture, and tells its seed and its cost', async () => {
  const { image, providerMetadata } = await generateImage({
    model: modelAt(rig),
    prompt: 'a red apple',
    seed: 7,
    providerOptions: { blackForestLabs: { width: 512, height: 256, outputFormat: 'png', safetyTolerance: 2 } },
  });
  const { width, height } = decode(image.uint8Array);
  expect([width, height]).toEqual([512, 256]);
  const [told] = (providerMetadata.blackForestLabs as { images: { seed: number; cost: number }[] }).images;
  expect(told).toMatchObject({ seed: 7, cost: expect.any(Number), duration: expect.any(Number) });
});

test('a ratio is met by the nearest size', async () => {
  const { image } = await generateImage({ model: modelAt(rig), prompt: 'a red apple', aspectRatio: '1:1' });
  expect(image.mediaType).toBe('image/jpeg');
});

test('refusals and missing credit are APICallErrors with our sentence', async () => {
  const refused = await generateImage({
    model: modelAt(rig),
    prompt: 'a red apple',
    providerOptions: { blackForestLabs: { imagePrompt: 'aGk=' } },
  }).catch((reason: unknown) => reason);
  expect(APICallError.isInstance(refused)).toBe(true);
  expect(refused).toMatchObject({ statusCode: 422, message: expect.stringContaining('drawn from text alone') });
  const poor = await generateImage({ model: modelAt(await openPoorDoor()), prompt: 'a red apple' }).catch(
    (reason: unknown) => reason,
  );
  expect(poor).toMatchObject({ statusCode: 402, message: expect.stringContaining('0.000000 USD left') });
  const unknown = await generateImage({ model: modelAt(rig, 'flux-9'), prompt: 'an apple' }).catch(
    (reason: unknown) => reason,
  );
  expect(unknown).toMatchObject({ statusCode: 404, message: expect.stringContaining('There is no model flux-9') });
});
