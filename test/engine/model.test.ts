/**
 * One suite for both engines: the embedded model gives the numbers PyTorch gave (`reference.safetensors`, made by
 * lab/train/export.py) and says what it leaves out.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel } from '../../containers/onnx/load-model.ts';
import type { EncodedText, Model } from '../../containers/onnx/model.ts';
import { modelFacts } from '../../src/stage/contract.ts';
import { decodeMessage } from '../../src/stage/safetensors.ts';

const MODELS = new URL('../../models', import.meta.url).pathname;
/**
 * Largest difference from PyTorch relative to the largest value: both compute in float32, in another order. Measured:
 * 1.6e-6 with either engine.
 */
const TOLERANCE = 2e-5;

const reference = decodeMessage(readFileSync(new URL('reference.safetensors', import.meta.url)));
/** a case of velocity: tokens, sigma, index of the prompt or -1 for none */
const { prompts, cases } = JSON.parse(reference.metadata.about as string) as {
  prompts: string[];
  cases: [number, number, number][];
};
const [prompt = ''] = prompts;

function floats(name: string): Float32Array {
  const data = reference.tensors[name]?.data;
  if (!(data instanceof Float32Array)) throw new RangeError(`no float tensor ${name} in the reference`);
  return data;
}

function relativeDifference(got: Float32Array, want: Float32Array): number {
  expect(got.length).toBe(want.length);
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < want.length; i++) {
    difference = Math.max(difference, Math.abs((got[i] as number) - (want[i] as number)));
    largest = Math.max(largest, Math.abs(want[i] as number));
  }
  return difference / largest;
}

describe.each(['native', 'wasm'] as const)('the embedded model on the %s engine', (engine) => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel({ dir: MODELS, engine, threads: availableParallelism() });
  }, 60_000);
  afterAll(() => model?.close());

  const velocity = (n: number, sigma: number, text: EncodedText) =>
    model.velocity({ latents: floats(`latents.${n}`), imgIds: floats(`ids.${n}`), sigma, guidance: null, text });

  it('says what it is and what computes it', () => {
    expect(modelFacts.parse(model.facts)).toEqual(model.facts);
    expect(model.facts.digest).toMatch(/^[0-9a-f]{64}$/);
    expect(model.engine).toMatch(
      engine === 'native'
        ? /^onnxruntime-node\/\d+\.\d+\.\d+ cpu \S+ threads=\d+$/
        : /^onnxruntime-web\/\d+\.\d+\.\d+ wasm threads=\d+$/,
    );
    expect(model.isDeterministic).toBe(true);
  });

  it.each(prompts.map((text, i) => [text, i] as const))('encodes "%s" as PyTorch does', async (text, i) => {
    const encoded = await model.encodeText(text);
    expect(encoded.warnings).toEqual(
      text.includes('tiny zebra')
        ? ['reads in pieces words it has not learned: zebra', 'reads words it has not learned to draw: tiny']
        : [],
    );
    expect(encoded.numTokens).toBe(reference.tensors[`text.${i}.hidden`]?.shape[0]);
    expect(relativeDifference(encoded.hidden, floats(`text.${i}.hidden`))).toBeLessThanOrEqual(TOLERANCE);
    expect(relativeDifference(encoded.pooled, floats(`text.${i}.pooled`))).toBeLessThanOrEqual(TOLERANCE);
  });

  it.each(cases.map(([n, sigma, text], i) => [n, sigma, prompts[text] ?? '', i] as const))(
    'predicts the velocity of %d tokens at sigma %d for "%s" as PyTorch does',
    async (n, sigma, text, i) => {
      expect(
        relativeDifference(await velocity(n, sigma, await model.encodeText(text)), floats(`velocity.${i}`)),
      ).toBeLessThanOrEqual(TOLERANCE);
    },
  );

  it('decodes latents to the bytes PyTorch gave, up to one level', async () => {
    const rgb = await model.decode(floats('decode.latents'), 8, 8);
    const want = reference.tensors['decode.rgb'] as { data: Uint8Array; shape: readonly number[] };
    expect(want.shape).toEqual([8 * model.facts.token_pixels, 8 * model.facts.token_pixels, 3]);
    expect(rgb.length).toBe(want.data.length);
    let worst = 0;
    let different = 0;
    rgb.forEach((value, i) => {
      const difference = Math.abs(value - (want.data[i] as number));
      worst = Math.max(worst, difference);
      if (difference > 0) different++;
    });
    expect(worst).toBeLessThanOrEqual(1); // a value on a rounding edge
    expect(different).toBeLessThan(rgb.length / 1000);
  });

  it('decodes a grid that is not square row by row', async () => {
    const rgb = await model.decode(floats('decode.latents').subarray(0, 2 * 8 * 4 * model.facts.channels), 2, 8);
    expect(rgb.length).toBe(2 * 8 * model.facts.token_pixels ** 2 * 3);
    // the upper edge is out of reach of what was cut off below
    const whole = await model.decode(floats('decode.latents'), 8, 8);
    const row = 8 * model.facts.token_pixels * 3;
    expect(rgb.subarray(0, row).every((value, i) => Math.abs(value - (whole[i] as number)) <= 24)).toBe(true);
  });

  it('reads a word it has not learned in pieces and names it, each once', async () => {
    const encoded = await model.encodeText('a Xyzzy red, xyzzy apple plugh');
    expect(encoded.warnings).toEqual(['reads in pieces words it has not learned: xyzzy, plugh']);
    expect(encoded.numTokens).toBeGreaterThan((await model.encodeText('a red, apple')).numTokens + 3);
  });

  it('names words of size, single letters and beginnings of words, which it reads and has not learned to draw', async () => {
    for (const word of ['small', 'tiny', 'large', 'big', 'x', '7', 'sail'])
      expect((await model.encodeText(`a ${word} fox`)).warnings).toEqual([
        `reads words it has not learned to draw: ${word}`,
      ]);
  });

  it('has learned the words it states and those of its examples', async () => {
    const { vocabulary, emoji, examples = [] } = model.facts;
    expect(emoji).toMatchObject({ '🍎': 'apple', '🍏': 'green apple', '🐈‍⬛': 'black cat' });
    expect(emoji).not.toHaveProperty('🦓');
    const words = Object.values(vocabulary ?? {}).flat();
    expect(words.length).toBeGreaterThan(80);
    expect(examples).toHaveLength(8);
    for (const text of [...words, ...examples]) expect((await model.encodeText(text)).warnings).toEqual([]);
  });

  it('skips what it has no letters for and names it; an emoji is read as its name', async () => {
    const encoded = await model.encodeText('a red 林檎 🍎');
    expect(encoded.warnings).toEqual(['skipped words the model does not know: 林, 檎']);
    expect(encoded.hidden).toEqual((await model.encodeText('a red apple')).hidden);
  });

  it('cuts a prompt that is too long and names what it left out', async () => {
    const encoded = await model.encodeText(`${'red '.repeat(model.facts.text_tokens - 1)} green apple`);
    expect(encoded.numTokens).toBe(model.facts.text_tokens);
    // one more than its words: the token that every text begins with
    expect(encoded.warnings).toEqual([
      `the prompt has ${model.facts.text_tokens + 2} text tokens and the model reads ${model.facts.text_tokens}, left out: green apple`,
    ]);
  });

  it('keeps its warnings short when nothing of a very long prompt is known', async () => {
    const encoded = await model.encodeText(Array.from({ length: 5000 }, (_, i) => `qq${i} 林${i}`).join(' '));
    expect(encoded.numTokens).toBe(model.facts.text_tokens);
    expect(encoded.warnings).toHaveLength(4);
    expect(encoded.warnings.join('').length).toBeLessThan(600);
  });

  it.each(['', '   ', '林檎 🏽'])(
    'gives what PyTorch gives without text for the prompt "%s", and says so',
    async (unknown) => {
      const encoded = await model.encodeText(unknown);
      expect(encoded.numTokens).toBe(1);
      expect(encoded.warnings.at(-1)).toMatch(/no word the model knows/);
      expect(relativeDifference(encoded.hidden, floats('text.empty.hidden'))).toBeLessThanOrEqual(TOLERANCE);
      expect(relativeDifference(encoded.pooled, floats('text.empty.pooled'))).toBeLessThanOrEqual(TOLERANCE);
      const i = cases.findIndex(([, , text]) => text === -1);
      const [n = 0, sigma = 0] = cases[i] ?? [];
      expect(relativeDifference(await velocity(n, sigma, encoded), floats(`velocity.${i}`))).toBeLessThanOrEqual(
        TOLERANCE,
      );
    },
  );

  it('gives the same bytes for the same input, whatever ran in between', async () => {
    const text = await model.encodeText(prompt);
    const first = await velocity(82, 0.55, text);
    await velocity(256, 0.5, text);
    await velocity(64, 0.86, text);
    expect(await velocity(82, 0.55, await model.encodeText(prompt))).toEqual(first);
    const again = await loadModel({ dir: MODELS, engine, threads: availableParallelism() });
    expect(
      await again.velocity({
        latents: floats('latents.82'),
        imgIds: floats('ids.82'),
        sigma: 0.55,
        guidance: null,
        text,
      }),
    ).toEqual(first);
    await again.close();
  });

  it('leaves its inputs and earlier outputs alone', async () => {
    const text = await model.encodeText(prompt);
    const latents = floats('latents.64').slice();
    const first = await model.velocity({ latents, imgIds: floats('ids.64'), sigma: 1, guidance: null, text });
    const kept = first.slice();
    await model.velocity({ latents, imgIds: floats('ids.64'), sigma: 0.1, guidance: null, text });
    expect(first).toEqual(kept);
    expect(latents).toEqual(floats('latents.64'));
  });

  it('runs a single token', async () => {
    const one = await model.velocity({
      latents: floats('latents.64').subarray(0, 64),
      imgIds: Float32Array.of(0, 0, 0),
      sigma: 1,
      guidance: null,
      text: await model.encodeText(prompt),
    });
    expect(one.length).toBe(64);
    expect(one.every(Number.isFinite)).toBe(true);
  });

  it('refuses latents and ids that do not belong together', async () => {
    const text = await model.encodeText(prompt);
    const input = { sigma: 1, guidance: null, text };
    await expect(
      model.velocity({ ...input, latents: new Float32Array(65), imgIds: new Float32Array(3) }),
    ).rejects.toThrow('latents has 65 values, expected a positive multiple of 64');
    await expect(
      model.velocity({ ...input, latents: new Float32Array(64), imgIds: new Float32Array(6) }),
    ).rejects.toThrow('imgIds has 6 values, expected 3 for 1 tokens');
    await expect(model.decode(new Float32Array(64), 2, 2)).rejects.toThrow(RangeError);
  });
});
