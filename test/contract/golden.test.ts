/** The golden messages: read as listed, written as listed, and taken by the real server. */
import { readdirSync, statSync } from 'node:fs';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SUPPORTED } from '../../containers/onnx/validate.ts';
import { closedFormModel } from '../../scripts/local/closed-form-model.ts';
import { encodeStageRequest } from '../../src/stage/client.ts';
import {
  EVENT_TEXTS,
  FEATURES,
  neededFeatures,
  optionsFor,
  parseMetadata,
  REQUEST_TEXTS,
  stageEvent,
  stageOptions,
} from '../../src/stage/contract.ts';
import { decodeMessage, encodeMessage, readMessages } from '../../src/stage/safetensors.ts';
import type { Started } from './conformance.ts';
import { type Golden, goldenBytes, goldenUrl, listedMessages } from './golden/listed.ts';
import { finish, freshId, put, rest } from './requests.ts';
import { startServer } from './start.ts';

const ALL = listedMessages();
const named = (list: readonly Golden[]) => list.map((golden) => [golden.file, golden] as const);
const requests = ALL.filter(({ kind }) => kind === 'request');
const answers = ALL.filter(({ kind }) => kind === 'answer');

const optionsOf = ({ metadata }: Golden) => stageOptions.parse(parseMetadata(metadata, REQUEST_TEXTS));
const encode = (golden: Golden, features: readonly string[]): Buffer => {
  const { latents, img_ids, sigmas, scale } = golden.tensors;
  return Buffer.from(
    encodeStageRequest(optionsFor(optionsOf(golden), features), {
      latents: latents?.data as Float32Array,
      imgIds: img_ids?.data as Float32Array,
      sigmas: sigmas?.data as Float32Array,
      scale: scale?.data as Uint8Array,
    }),
  );
};

test('every file is listed, and all of them are small', () => {
  const folder = goldenUrl('.');
  const files = readdirSync(folder);
  expect(files.filter((file) => file.endsWith('.safetensors')).toSorted()).toEqual(
    ALL.map(({ file }) => file).toSorted(),
  );
  expect(files.reduce((sum, file) => sum + statSync(new URL(file, folder)).size, 0)).toBeLessThan(100_000);
});

describe('a golden message', () => {
  test.each(named(ALL))('%s decodes to what is listed, in its order', (file, { metadata, tensors }) => {
    const message = decodeMessage(goldenBytes(file));
    expect(Object.entries(message.metadata)).toEqual(Object.entries(metadata));
    expect(Object.keys(message.tensors)).toEqual(Object.keys(tensors));
    for (const [name, { data, shape }] of Object.entries(tensors)) {
      expect(message.tensors[name]?.shape, name).toEqual(shape);
      expect(message.tensors[name]?.data, name).toEqual(data);
    }
  });

  test.each(named(ALL))('%s is encoded to the same bytes', (file, { metadata, tensors }) => {
    expect(Buffer.from(encodeMessage({ metadata, tensors })).equals(goldenBytes(file))).toBe(true);
    expect(Buffer.from(encodeMessage(decodeMessage(goldenBytes(file)))).equals(goldenBytes(file))).toBe(true);
  });
});

describe('a golden request', () => {
  test.each(named(requests))('%s is what the client writes', (file, golden) => {
    expect(encode(golden, golden.version === 1 ? [] : FEATURES).equals(goldenBytes(file))).toBe(true);
  });

  test('request-late-preview is that without a late preview, byte for byte, for a server without the feature', () => {
    const late = requests.find(({ file }) => file === 'request-late-preview.safetensors') as Golden;
    const without = FEATURES.filter((feature) => feature !== 'late_preview');
    expect(encode(late, without).equals(goldenBytes('request-preview.safetensors'))).toBe(true);
    expect(encode(late, []).equals(goldenBytes('request-preview-v1.safetensors'))).toBe(true);
  });

  const needsFeature = (golden: Golden) => neededFeatures(optionsOf(golden)).length > 0;
  const alsoOld = requests.filter((golden) => golden.version === 2 && !needsFeature(golden));
  test.each(alsoOld.map((golden) => [golden.file, golden] as const))(
    '%s for a server without features is the request of version 1, byte for byte',
    (file, golden) => {
      const old = goldenBytes(file.replace('.safetensors', '-v1.safetensors'));
      expect(encode(golden, []).equals(old)).toBe(true);
      expect(encode(golden, ['levitation']).equals(old)).toBe(true);
    },
  );

  test.each([
    ['request-ab2.safetensors', 'solver.ab2'],
    ['request-clean-latents.safetensors', 'clean_latents'],
    ['request-cache.safetensors', 'cache.taylor_velocity'],
    ['request-cache-blocks.safetensors', 'cache.taylor_blocks'],
    ['request-enlarge.safetensors', 'enlarge'],
  ])('%s is never written for a server without %s', (name, feature) => {
    const golden = requests.find(({ file }) => file === name) as Golden;
    expect(() => encode(golden, ['account_tag'])).toThrow(`features are [account_tag]; expected ${feature} among them`);
  });

  describe('is taken by the server', () => {
    let server: Started;
    beforeAll(async () => {
      server = await startServer([closedFormModel({ facts: { sizes: [{ width: 64, height: 64 }] } }).model]);
    });
    afterAll(() => server?.stop());

    const isSupported = (golden: Golden) => neededFeatures(optionsOf(golden)).every((each) => SUPPORTED.includes(each));

    test.each(named(requests.filter((golden) => !isSupported(golden))))(
      '%s not, which asks for more than it states',
      async (file) => {
        const response = await put(server, freshId(), goldenBytes(file));
        expect([response.status, await response.json()]).toMatchObject([
          400,
          { code: 'bad_metadata', field: 'cache.kind' },
        ]);
      },
    );

    test.each(named(requests.filter(isSupported)))('%s', async (file, golden) => {
      const { done, tensors, behind } = await finish(await put(server, freshId(), goldenBytes(file)));
      const { decode, rgb, preview, clean_latents, cache, late_preview } = optionsOf(golden);
      expect(done.steps_done).toBe((golden.tensors.sigmas?.data.length as number) - 1);
      expect(done.evaluations).toBe(done.steps_done - (cache ? 2 : 0));
      expect(Object.keys(tensors)).toEqual([
        ...(decode === 'image' ? [] : ['latents']),
        ...(clean_latents ? ['clean_latents'] : []),
        ...(rgb ? ['rgb'] : []),
        ...(decode === 'image' ? ['image'] : []),
        ...(preview && !late_preview ? ['preview'] : []),
      ]);
      expect(behind && Object.keys(behind.tensors)).toEqual(late_preview ? ['preview'] : null);
    });
  });
});

describe('a golden answer', () => {
  test.each(named(answers))('%s is a message of the contract, every field of it', (_, { metadata }) => {
    const values = parseMetadata(metadata, EVENT_TEXTS);
    expect(stageEvent.parse(values)).toEqual(values);
  });

  test('is found in a body of many, however the network cuts it', async () => {
    const body = Buffer.concat(answers.map(({ file }) => goldenBytes(file)));
    for (const size of [1, 7, 100, body.length]) {
      const parts = Array.from(
        { length: Math.ceil(body.length / size) },
        (_, i) => new Uint8Array(body.subarray(i * size, (i + 1) * size)),
      );
      const found = await rest(readMessages(ReadableStream.from(parts), body.length));
      expect(found.map(({ metadata }) => metadata)).toEqual(answers.map(({ metadata }) => metadata));
    }
  });

  test('holds pictures that can be opened', async () => {
    const picture = (name: string) =>
      sharp(answers.find(({ tensors }) => name in tensors)?.tensors[name]?.data as Uint8Array).metadata();
    expect(await picture('image')).toMatchObject({ format: 'png', width: 64, height: 64 });
    for (const { file } of answers.filter(({ tensors }) => 'preview' in tensors)) {
      const bytes = answers.find((answer) => answer.file === file)?.tensors.preview?.data as Uint8Array;
      expect(await sharp(bytes).metadata(), file).toMatchObject({ format: 'webp', width: 32, height: 32 });
    }
  });
});
