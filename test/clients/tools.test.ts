/**
 * Tools that draw, by the requests that their sources make, each read as the tool reads its answer. They are from
 * LibreChat DALLE3.js, Open WebUI images.py, n8n generate.operation.ts, Nextcloud integration_openai, Home Assistant
 * generate_image, quarkus-langchain4j, CrewAI DallETool, uni-api, RooCode.
 */
import { decode } from 'fast-png';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Door, openDoor } from './doors.ts';

let rig: Door;
beforeAll(async () => {
  rig = await openDoor();
});

interface Answer {
  readonly created: number;
  readonly data: readonly {
    readonly url?: string;
    readonly b64_json?: string;
    readonly revised_prompt?: string;
  }[];
  readonly warnings?: readonly string[];
}

const ask = (path: string, body: object): Promise<Response> =>
  fetch(`${rig.service.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${rig.service.key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
async function draw(body: object): Promise<Answer> {
  const response = await ask('/v1/images/generations', body);
  expect(response.status).toBe(200);
  return (await response.json()) as Answer;
}

const sizeOf = (bytes: ArrayBuffer | Uint8Array): readonly number[] => {
  const { width, height } = decode(new Uint8Array(bytes));
  return [width, height];
};
/** As a tool that reads nothing but an address. */
const sizeAt = async ({ data }: Answer): Promise<readonly number[]> =>
  sizeOf(await (await fetch(data[0]?.url ?? '')).arrayBuffer());
/** As a tool that reads nothing but bytes. */
const sizeIn = ({ data }: Answer): readonly number[] => sizeOf(Buffer.from(data[0]?.b64_json ?? '', 'base64'));

const STYLE = 'style is ignored: the models have no styles';

describe('tools that read an address', () => {
  test.each<[string, object, readonly number[]]>([
    ['LibreChat', { model: 'dall-e-3', quality: 'standard', style: 'vivid', size: '1024x1024', n: 1 }, [1024, 1024]],
    [
      'Home Assistant',
      { model: 'dall-e-3', size: '1024x1024', quality: 'standard', style: 'vivid', n: 1 },
      [1024, 1024],
    ],
    [
      'quarkus-langchain4j',
      { model: 'dall-e-3', size: '1024x1024', quality: 'standard', style: 'vivid' },
      [1024, 1024],
    ],
    ['n8n', { model: 'dall-e-3', quality: 'hd', size: '1024x1024', style: 'natural', n: 1 }, [1024, 1024]],
    ['n8n with dall-e-2', { model: 'dall-e-2', size: '256x256', n: 2, response_format: 'url' }, [256, 256]],
    ['CrewAI', { model: 'dall-e-3', size: '1024x1024', quality: 'standard', n: 1 }, [1024, 1024]],
    ['Nextcloud', { model: 'dall-e-2', size: '1024x1024', n: 1, response_format: 'url', user: 'anna' }, [1024, 1024]],
  ])('%s', async (_, fields, size) => {
    const answer = await draw({ prompt: 'a red apple', ...fields });
    expect(await sizeAt(answer)).toEqual(size);
    expect(answer.created).toBeGreaterThan(0);
    if ('style' in fields) expect(answer.warnings).toContain(STYLE);
  });
});

describe('tools that read bytes', () => {
  test.each<[string, object, readonly number[]]>([
    ['Open WebUI', { model: 'dall-e-2', n: 1, size: '512x512', response_format: 'b64_json' }, [512, 512]],
    ['Open WebUI with gpt-image-1', { model: 'gpt-image-1', n: 1, size: '1024x1024' }, [1024, 1024]],
    ['LocalAI’s clients', { model: 'gpt-image-1', size: '512x512', steps: 4, response_format: 'b64_json' }, [512, 512]],
    ['uni-api', { model: 'gpt-image-1', image_size: '1K', aspect_ratio: '1:1' }, [1024, 1024]],
    ['diffusers’ imitators', { model: 'gpt-image-1', width: 512, height: 512, num_inference_steps: 4 }, [512, 512]],
  ])('%s', async (_, fields, size) => {
    expect(sizeIn(await draw({ prompt: 'a red apple', ...fields }))).toEqual(size);
  });

  test('Open WebUI with AUTOMATIC1111: it asks for the model, draws, and reads images and info', async () => {
    const get = async (name: string) =>
      (
        await fetch(`${rig.service.url}/sdapi/v1/${name}`, {
          headers: { authorization: `Basic ${btoa(`user:${rig.service.key}`)}` },
        })
      ).json();
    const options = (await get('options')) as { sd_model_checkpoint: string };
    const models = (await get('sd-models')) as { title: string; model_name: string }[];
    expect(models.map(({ title }) => title)).toContain(options.sd_model_checkpoint);
    const body = { prompt: 'a red apple', batch_size: 1, width: 512, height: 512, steps: 4, negative_prompt: '' };
    const answer = (await (await ask('/sdapi/v1/txt2img', body)).json()) as { images: string[]; info: string };
    expect(sizeOf(Buffer.from(answer.images[0] ?? '', 'base64'))).toEqual([512, 512]);
    expect(JSON.parse(answer.info)).toMatchObject({ prompt: 'a red apple', steps: 4 });
  });
});

describe('tools that are pointed elsewhere', () => {
  test('RooCode, with a base address without /v1, reads why', async () => {
    const response = await ask('/images/generations', { prompt: 'a red apple' });
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ error: { message: expect.stringContaining('ends in /v1') } });
  });

  test('LobeChat and Home Assistant, which ask for responses, read what is here', async () => {
    for (const path of ['/v1/responses', '/v1/chat/completions']) {
      const response = await ask(path, { model: 'gpt-5', input: 'a red apple', tools: [{ type: 'image_generation' }] });
      const { error } = (await response.json()) as { error: { message: string } };
      expect([response.status, error.message]).toEqual([404, expect.stringContaining('POST /v1/images/generations')]);
    }
  });

  test.each([1, 100_000, 4_000_000])(
    'an editor of pictures reads that there is no editing, from a form with one of %i bytes too',
    async (bytes) => {
      const form = new FormData();
      form.set('prompt', 'a hat');
      form.set('image', new Blob([new Uint8Array(bytes)], { type: 'image/png' }), 'image.png');
      // an answer before the last byte must be heard as well, every time
      for (let times = 0; times < 20; times++) {
        const response = await fetch(`${rig.service.url}/v1/images/edits`, {
          method: 'POST',
          headers: { authorization: `Bearer ${rig.service.key}` },
          body: form,
        });
        expect(await response.json()).toMatchObject({
          error: { type: 'invalid_request_error', message: expect.stringContaining('drawn from text alone') },
        });
      }
    },
  );

  test('who sends too much, in one piece or in many, reads that it is too much', async () => {
    const piece = new Uint8Array(65_536).fill(97);
    for (let times = 0; times < 40; times++) {
      let left = 50;
      const body =
        times % 2 === 0
          ? new Uint8Array(left * piece.length)
          : new ReadableStream({
              pull(controller) {
                if (left-- > 0) controller.enqueue(piece);
                else controller.close();
              },
            });
      const response = await fetch(`${rig.service.url}/v1/images/generations`, {
        method: 'POST',
        headers: { authorization: `Bearer ${rig.service.key}`, 'content-type': 'application/json' },
        body,
        duplex: 'half',
      } as RequestInit);
      expect(response.status).toBe(413);
      expect(await response.json()).toMatchObject({ error: { message: expect.stringContaining('262144 bytes') } });
    }
  });
});
