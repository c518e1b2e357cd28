/** LangChain's tool that draws, as it comes. */
import { DallEAPIWrapper } from '@langchain/openai';
import { decode } from 'fast-png';
import { beforeAll, expect, test } from 'vitest';
import { type Door, openDoor } from './doors.ts';

let rig: Door;
const toolWith = (fields: ConstructorParameters<typeof DallEAPIWrapper>[0]) =>
  new DallEAPIWrapper({ baseUrl: `${rig.service.url}/v1`, apiKey: rig.service.key, ...fields });

beforeAll(async () => {
  rig = await openDoor();
});

test('with nothing set it gets a link to a picture of the size that it has built in', async () => {
  const url = await toolWith({}).invoke('a red apple');
  const picture = await fetch(url);
  const { width, height } = decode(new Uint8Array(await picture.arrayBuffer()));
  expect([width, height]).toEqual([1024, 1024]);
});

test('with bytes asked for it gets these, and several come as a list', async () => {
  const b64 = await toolWith({ dallEResponseFormat: 'b64_json', style: 'natural', quality: 'hd' }).invoke(
    'a red apple',
  );
  expect(Buffer.from(b64, 'base64').subarray(1, 4).toString()).toBe('PNG');
  const several: unknown = await toolWith({ n: 2, user: 'anna' }).invoke('a red apple');
  expect(several).toEqual([
    { type: 'image_url', image_url: expect.stringMatching(/^http/) },
    { type: 'image_url', image_url: expect.stringMatching(/^http/) },
  ]);
});
