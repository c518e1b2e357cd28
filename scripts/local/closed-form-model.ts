/**
 * A model in closed form, small and exact, for everything about a stage server that is not the model: v = tanh(x) *
 * (0.5 + sigma), pictures straight from the latents.
 */
import type { Colours } from '../../containers/onnx/colours.ts';
import type { Model } from '../../containers/onnx/model.ts';
import type { ModelFacts } from '../../src/stage/contract.ts';

const WORDS = new Set(['a', 'red', 'apple', 'on', 'blue', 'background']);
const TEXT_TOKENS = 6;
/** Most characters of a prompt in a warning. */
const MAX_QUOTE = 120;

export const CLOSED_FORM_FACTS: ModelFacts = {
  id: 'closed-form',
  aliases: ['cf'],
  family: 'flux.1',
  channels: 4,
  token_pixels: 16,
  sizes: [
    { width: 128, height: 128 },
    { width: 128, height: 64 },
  ],
  size_rule: null,
  upsampling: ['latent', 'token'],
  caches: ['taylor_velocity'],
  shift: [{ tokens: 64, shift: 3 }],
  steps: 50,
  guidance: null,
  negative_prompt: false,
  text_tokens: TEXT_TOKENS,
  max_tokens: 64,
  scripts: null,
  flops: {
    per_token: 1,
    per_token_squared: 1,
    fixed: 1,
    attention_per_token: 0,
    attention_fixed: 0,
    decode_per_pixel: 1,
    text: 1,
  },
  digest: 'closed-form-1',
  licence: 'MIT',
  card: 'scripts/local/closed-form-model.ts',
};

export interface Calls {
  encodeText: number;
  velocity: number;
  decode: number;
  isClosed: boolean;
}

/** Awaited at each call, so a test can hold, slow or break the model there. */
export type Before = (call: 'encodeText' | 'velocity' | 'decode') => Promise<void> | void;

/** What `decode` does, as a map: channel c of the first three is the colour c, and zeros are grey. */
function closedFormColours(channels: number): Colours {
  const weights = new Float64Array((channels + 1) * 3);
  for (let c = 0; c < 3; c++) weights[3 * c + c] = 60;
  return { channels, side: 1, weights: weights.fill(127.5, 3 * channels) };
}

/** The model and what was asked of it. */
export function closedFormModel({ facts = {}, before }: { facts?: Partial<ModelFacts>; before?: Before } = {}): {
  model: Model;
  calls: Calls;
} {
  const calls: Calls = { encodeText: 0, velocity: 0, decode: 0, isClosed: false };
  const allFacts = { ...CLOSED_FORM_FACTS, ...facts };
  const width = 4 * allFacts.channels;
  const called = async (call: 'encodeText' | 'velocity' | 'decode') => {
    calls[call] += 1;
    await before?.(call);
  };
  const model: Model = {
    facts: allFacts,
    engine: 'closed-form/1 cpu',
    isDeterministic: true,
    colours: closedFormColours(allFacts.channels),
    async encodeText(prompt) {
      await called('encodeText');
      const words = prompt.toLowerCase().split(/\s+/).filter(Boolean);
      const known = words.filter((word) => WORDS.has(word));
      const unknown = words.filter((word) => !WORDS.has(word));
      const kept = known.slice(0, TEXT_TOKENS);
      const warnings = [
        ...(unknown.length > 0
          ? [`words the model does not know were skipped: ${unknown.join(', ').slice(0, MAX_QUOTE)}`]
          : []),
        ...(kept.length < known.length ? [`the text was cut after ${TEXT_TOKENS} words`] : []),
      ];
      return {
        hidden: Float32Array.from(kept, (word) => word.length),
        numTokens: kept.length,
        pooled: Float32Array.of(kept.length),
        warnings,
      };
    },
    async velocity({ latents, sigma, guidance, text }) {
      await called('velocity');
      const push = 0.5 + sigma + 0.01 * text.numTokens + 0.1 * (guidance ?? 0);
      return latents.map((value) => Math.tanh(value) * push);
    },
    async decode(latents, rows, cols) {
      await called('decode');
      const side = allFacts.token_pixels;
      const rgb = new Uint8Array(rows * cols * side * side * 3);
      for (let y = 0; y < rows * side; y++) {
        for (let x = 0; x < cols * side; x++) {
          const token = Math.floor(y / side) * cols + Math.floor(x / side);
          const slot = (y % side < side / 2 ? 0 : 2) + (x % side < side / 2 ? 0 : 1);
          for (let c = 0; c < 3; c++)
            rgb[(y * cols * side + x) * 3 + c] = Math.min(
              255,
              Math.max(0, Math.round(127.5 + 60 * latents[token * width + c * 4 + slot]!)),
            );
        }
      }
      return rgb;
    },
    async close() {
      calls.isClosed = true;
    },
  };
  return { model, calls };
}
