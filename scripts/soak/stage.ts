/**
 * The far side of the network: stage servers that speak the contract with zeros, and fail in every way that one can.
 * They count what they computed, so that a charge can be held against it.
 */
import { evaluatedSteps } from '../../src/numerics/taylor.ts';
import {
  CONTRACT_VERSION,
  FEATURES,
  type ModelFacts,
  parseMetadata,
  REQUEST_TEXTS,
  stageOptions,
  toMetadata,
} from '../../src/stage/contract.ts';
import { decodeMessage, encodeMessage, type TensorData } from '../../src/stage/safetensors.ts';
import type { Faults } from './faults.ts';
import type { Random } from './random.ts';
import type { Time } from './time.ts';

/** A small model: 16 image tokens at its first size, so that a stage is little to compute and to store. */
export const FACTS: ModelFacts = {
  id: 'small',
  aliases: [],
  family: null,
  channels: 1,
  token_pixels: 16,
  sizes: [{ width: 64, height: 64 }],
  size_rule: null,
  upsampling: ['latent', 'token'],
  caches: ['taylor_velocity'],
  shift: [{ tokens: 16, shift: 1 }],
  steps: 6,
  guidance: null,
  negative_prompt: false,
  text_tokens: 16,
  max_tokens: 64,
  scripts: null,
  // a step over 16 tokens is about 3 TFLOPs, a picture 0.8, the text 0.4
  flops: {
    per_token: 1.87e11,
    per_token_squared: 3.3e7,
    fixed: 1.234567e10,
    // counted with a text of 8 tokens
    attention_per_token: 5.28e8,
    attention_fixed: 2.112e9,
    decode_per_pixel: 2.03e8,
    text: 4.321e11,
  },
  digest: 'sha256:small',
  licence: 'none',
  card: '',
};

/** Servers of the one model, each with its slots. */
export const SLOTS = { one: 2, two: 1 } as const;
export type ServerName = keyof typeof SLOTS;
export const SERVERS = Object.keys(SLOTS) as ServerName[];

const ENGINE = 'soak';

/** What the server did for one stage. */
interface Computed {
  steps: number;
  isFinished: boolean;
}

export interface StageServer {
  readonly fetch: typeof fetch;
  /** servers where nobody answers */
  readonly down: Set<ServerName>;
  /** From now on every step is quick. */
  calm(): void;
  /** steps and finished stages of a job, as the server counted them */
  computed(job: string, stage: number): Computed;
  /** tokens of text that the server tells for a job; null: it tells none */
  textTokens(job: string): number | null;
}

const idIn = (path: string): string => path.slice('/v1/stages/'.length);

const WAYS = ['unreachable', 'busy', 'broken', 'refused', 'retryable', 'final', 'not_finite', 'cut', 'hang'] as const;

/** What a late preview may come to: nothing, an error, a cut, or a body that ends without it. */
const LATE_WAYS = ['hang', 'retryable', 'cut', 'ended'] as const;

/** Text in, a number that stays the same. */
const hashOf = (text: string): number =>
  [...text].reduce((hash, sign) => Math.imul(hash ^ sign.charCodeAt(0), 0x01000193) >>> 0, 0x811c9dc5);

export function makeStageServer({
  time,
  faults,
  random,
  rate,
  onRequest,
}: {
  readonly time: Time;
  readonly faults: Faults;
  readonly random: Random;
  /** share of stages that fail */
  readonly rate: () => number;
  /** a stage request of a job goes out */
  readonly onRequest: (job: string) => void;
}): StageServer {
  const done = new Map<string, Computed>();
  const down = new Set<ServerName>();
  let isCalm = false;
  const models = JSON.stringify({
    contract: { version: CONTRACT_VERSION, features: FEATURES },
    models: [{ ...FACTS, engine_class: ENGINE, deterministic: true }],
  });
  const keyOf = (job: string, stage: number): string => `${job}.${stage}`;
  const record = (key: string): Computed => {
    const known = done.get(key);
    if (known) return known;
    const made = { steps: 0, isFinished: false };
    done.set(key, made);
    return made;
  };
  // more than the model reads, less, or nothing: the same for a job whoever is asked
  const textTokens = (job: string): number | null => [null, 3, 16, 40, 0][hashOf(job) % 5] ?? null;

  const answer = (status: number, body: string, headers: Record<string, string> = {}): Response =>
    new Response(status === 204 ? null : body, { status, headers });

  /** Runs a stage: its steps and its result, as they come. */
  function run(id: string, body: Uint8Array, signal: AbortSignal | null): Response {
    const [job, number] = id.split('.') as [string, string];
    const way = random.chance(rate()) ? random.pick(WAYS) : 'well';
    if (way === 'busy') return answer(503, '', { 'retry-after': '1' });
    if (way === 'broken') return answer(500, '');
    if (way === 'refused') return answer(400, JSON.stringify({ code: 'bad_stage', message: 'refused' }));
    const { metadata, tensors } = decodeMessage(body);
    const options = stageOptions.parse(parseMetadata(metadata, REQUEST_TEXTS));
    const steps = (tensors.sigmas?.data.length ?? 1) - 1;
    const evaluations = evaluatedSteps(steps, options.cache).length;
    const kept = record(keyOf(job, Number(number)));
    const breaksAfter = way === 'well' ? Number.POSITIVE_INFINITY : random.below(steps + 1);
    let stop = (): void => undefined;
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        let isOver = false;
        const end = (work: () => void): void => {
          if (isOver) return;
          isOver = true;
          work();
        };
        const send = (values: Readonly<Record<string, unknown>>, data: Record<string, TensorData> = {}): void => {
          const shaped = Object.entries(data).map(([name, one]) => [name, { data: one, shape: shapeOf(name, one) }]);
          controller.enqueue(encodeMessage({ metadata: toMetadata(values), tensors: Object.fromEntries(shaped) }));
        };
        const shapeOf = (name: string, data: TensorData): number[] =>
          name === 'latents' || name === 'clean_latents'
            ? (tensors.latents?.shape as number[])
            : name === 'rgb'
              ? [Math.sqrt(data.length / 3), Math.sqrt(data.length / 3), 3]
              : [data.length];
        signal?.addEventListener('abort', () => end(() => controller.error(signal.reason)), { once: true });
        const fail = (): void => {
          if (way === 'hang') return;
          if (way === 'cut' || way === 'unreachable') {
            end(() => controller.error(new TypeError('cut')));
            return;
          }
          const code = way === 'not_finite' ? 'not_finite' : 'model_failed';
          end(() => {
            send({ event: 'error', code, message: way, retryable: way === 'retryable' });
            controller.close();
          });
        };
        const step = (k: number): void => {
          if (isOver) return;
          if (k > breaksAfter || (k > steps && way !== 'well')) {
            fail();
            return;
          }
          if (k <= steps) {
            kept.steps = Math.max(kept.steps, k);
            send({ event: 'step', step: k, steps, sigma: 0.5, ms: 1 });
            time.after(stepMs(), () => step(k + 1));
            return;
          }
          kept.steps = steps;
          kept.isFinished = true;
          const { decode, width, height, rgb, preview, clean_latents, late_preview } = options;
          const picture = decode === 'clean' && preview && { preview: new Uint8Array(4) };
          const side = tensors.scale?.data.includes(1) ? 1 : 2;
          const tokens = textTokens(job);
          send(
            {
              event: 'done',
              compute_ms: 5,
              encode_text_ms: 1,
              decode_ms: 1,
              encode_ms: 1,
              steps_done: steps,
              evaluations,
              ...(tokens !== null && { text_tokens: tokens }),
              engine: ENGINE,
              model_digest: FACTS.digest,
              warnings: [],
            },
            {
              ...(decode === 'image'
                ? { image: new Uint8Array(8) }
                : { latents: new Float32Array(tensors.latents?.data.length ?? 0) }),
              ...(clean_latents && { clean_latents: new Float32Array(tensors.latents?.data.length ?? 0) }),
              ...(rgb && { rgb: new Uint8Array((3 * width * height) / side ** 2) }),
              ...(!late_preview && picture),
            },
          );
          if (!late_preview || !picture) {
            end(() => controller.close());
            return;
          }
          // the picture behind the result, which may come to nothing in ways of its own
          const fate = random.chance(rate()) ? random.pick(LATE_WAYS) : 'well';
          if (fate === 'hang') return;
          time.after(stepMs(), () =>
            end(() => {
              if (fate === 'cut') return controller.error(new TypeError('cut'));
              if (fate === 'well') send({ event: 'preview', decode_ms: 1, encode_ms: 1 }, picture);
              if (fate === 'retryable') send({ event: 'error', code: 'model_failed', message: fate, retryable: true });
              controller.close();
            }),
          );
        };
        time.after(stepMs(), () => step(1));
        stop = () => end(() => undefined);
      },
      cancel: () => stop(),
    });
    return new Response(stream);
  }

  const stepMs = (): number => {
    if (isCalm) return random.between(10, 50);
    return random.chance(0.05) ? random.between(500, 8_000) : random.between(10, 400);
  };

  function handle(path: string, init: RequestInit): Response {
    if (path === '/v1/models') return answer(200, models);
    // nothing to see
    if (path.endsWith('/thumbnail')) return answer(204, '');
    if (init.method === 'DELETE') return answer(204, '');
    return run(idIn(path), init.body as Uint8Array, init.signal ?? null);
  }

  const fetchStage = (input: string, init: RequestInit = {}): Promise<Response> => {
    const { pathname, hostname } = new URL(input);
    const server = hostname.split('.', 1)[0] as ServerName;
    if (init.method === 'PUT') onRequest(idIn(pathname).split('.', 1)[0] as string);
    return new Promise((resolve, reject) => {
      const fate = faults.fate();
      init.signal?.addEventListener('abort', () => reject(init.signal?.reason), { once: true });
      time.after(faults.latency('well'), () => {
        if (down.has(server) || fate === 'lost' || fate === 'kills_callee')
          return reject(new TypeError('fetch failed'));
        let response: Response;
        try {
          response = handle(pathname, init);
        } catch (error) {
          return reject(error);
        }
        if (fate === 'answer_lost' || fate === 'kills_callee_after') return reject(new TypeError('fetch failed'));
        resolve(response);
      });
    });
  };

  return {
    down,
    calm() {
      isCalm = true;
    },
    fetch: fetchStage as unknown as typeof fetch,
    computed: (job, stage) => record(keyOf(job, stage)),
    textTokens,
  };
}
