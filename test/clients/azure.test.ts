/** OpenAI's client for Azure against the running stack. */
import { decode } from 'fast-png';
import OpenAI, { AzureOpenAI, NotFoundError } from 'openai';
import { beforeAll, expect, test } from 'vitest';
import { type Door, openDoor } from './doors.ts';

let rig: Door;
let azure: AzureOpenAI;
const APPLE = { prompt: 'a red apple', size: '256x256' } as const;

beforeAll(async () => {
  rig = await openDoor();
  const { url: endpoint, key: apiKey } = rig.service;
  azure = new AzureOpenAI({ endpoint, apiKey, apiVersion: '2025-04-01-preview' });
});

test('a deployment draws, named by the request or by the client', async () => {
  const { data } = await azure.images.generate({ ...APPLE, model: 'gpt-image-1' });
  expect(decode(Buffer.from(data?.[0]?.b64_json ?? '', 'base64')).width).toBe(256);
  const { url: endpoint, key: apiKey } = rig.service;
  const deployed = new AzureOpenAI({ endpoint, apiKey, apiVersion: '2024-10-21', deployment: 'dall-e-3' });
  const answer = await deployed.images.generate({ ...APPLE, style: 'vivid', quality: 'standard' });
  const picture = await fetch(answer.data?.[0]?.url ?? '');
  expect(picture.headers.get('content-type')).toBe('image/png');
});

test('a deployment that is not there is a NotFoundError that names those that are', async () => {
  const error = await azure.images.generate({ ...APPLE, model: 'mine' }).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(NotFoundError);
  expect(error).toMatchObject({ code: 'DeploymentNotFound', message: expect.stringContaining('gpt-image-1') });
});

test('the stream of a deployment has its stages', async () => {
  const types: string[] = [];
  const stream = await azure.images.generate({ ...APPLE, model: 'gpt-image-1', stream: true, partial_images: 1 });
  for await (const { type } of stream) types.push(type);
  expect(types).toContain('image_generation.partial_image');
  expect(types.at(-1)).toBe('image_generation.completed');
});

test('the second version takes OpenAI’s own client, with the key in either header', async () => {
  const baseURL = `${rig.service.url}/openai/v1`;
  const client = new OpenAI({ baseURL, apiKey: rig.service.key, defaultHeaders: { 'api-key': rig.service.key } });
  const { data } = await client.images.generate({ ...APPLE, model: 'gpt-image-1' });
  expect(data?.[0]?.b64_json).toMatch(/^iVBOR/);
  expect((await client.models.retrieve('gpt-image-1')).id).toBe('gpt-image-1');
});
