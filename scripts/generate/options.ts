/** The command line of `npm run generate`: what may be asked, and the help that says so. Pure. */
import { extname } from 'node:path';
import type { ImageFormat } from '../../src/stage/contract.ts';
import { number, oneOf, pixelSize, readFlags, UsageError } from '../local/command-line.ts';
import { type ExternalStage, parseAddress, parseStage, STAGE_FLAGS } from '../local/external-stage.ts';

/** Where pictures go by default, under the folder that the command runs in: git ignores it. */
const PICTURES = '.ralu/pictures';

export const HELP = `npm run generate -- "a red apple" [options]

Makes a picture from a prompt, on the embedded model unless --stage names a stage server or --url a service, and saves it with the pictures of its stages.

  --preset <name>           plain, or a preset of the model (the model's default)
  --seed <0 … 4294967295>   the same seed gives the same bytes (random)
  --size <WxH>              pixels, such as 256x256 (the model's default)
  --out <file>              where the picture goes; .png, .webp or .jpg (the prompt as a file name, in ${PICTURES})
  --enlarge <WxH>           size of the file, larger or smaller than the picture is made at (as it is made)
  --from <file>             makes the picture in this file again, from what it says of itself; without a prompt
  --compare                 runs the plain full-resolution model with the same seed too: measured speed-up, and both pictures side by side

  --model <id>              a model of the service (its first)
  --upsampling <mode>       latent or token (the model's first)
  --r <shares>              share of low-resolution tokens upsampled early, 0 … 1; comma-separated where there are several (the preset's)
  --published               the paper's own h and Z instead of fitted ones
  --reference               reproduce the reference implementation
  --guidance <number>       where the model has guidance
  --negative-prompt <text>  where the model takes one

  --engine <name>           native or wasm: ONNX Runtime of the local stage server (native)
  --stage <address>         use the stage server there instead of starting one, such as http://127.0.0.1:8788
  --stage-token <token>     its token (environment: STAGE_TOKEN)
  --url <address>           use this service instead of starting one; needs --key or RALU_API_KEY
  --key <key>               bearer key of the service (environment: RALU_API_KEY)
  --json                    print one JSON object with files, plan and receipt
  --help
`;

export interface GenerateOptions {
  readonly prompt: string;
  /** body of `POST /v1/jobs` */
  readonly body: Readonly<Record<string, unknown>> & { readonly output_format: ImageFormat };
  readonly out: string;
  /** the picture that is to be made again: prompt and body come from it; null: from the options */
  readonly from: string | null;
  readonly compare: boolean;
  readonly engine: 'native' | 'wasm';
  /** a stage server that runs already; null: one is started */
  readonly stage: ExternalStage | null;
  readonly service: { readonly url: string; readonly key: string } | null;
  readonly json: boolean;
}

const FLAGS = {
  preset: { type: 'string' },
  seed: { type: 'string' },
  size: { type: 'string' },
  out: { type: 'string' },
  enlarge: { type: 'string' },
  from: { type: 'string' },
  compare: { type: 'boolean', default: false },
  model: { type: 'string' },
  upsampling: { type: 'string' },
  r: { type: 'string' },
  published: { type: 'boolean' },
  reference: { type: 'boolean' },
  guidance: { type: 'string' },
  'negative-prompt': { type: 'string' },
  engine: { type: 'string' },
  ...STAGE_FLAGS,
  url: { type: 'string' },
  key: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/**
 * What the arguments ask for; null when they ask for help. `env` gives the key where no flag does. Throws UsageError.
 */
export function parseOptions(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): GenerateOptions | null {
  const { values, positionals } = readFlags(args, { options: FLAGS, allowPositionals: true });
  if (values.help) return null;
  const [prompt = '', ...rest] = positionals;
  if (values.from !== undefined) refuseBeside(values, positionals);
  else if (prompt.trim() === '') throw new UsageError('a prompt is missing, such as "a red apple"');
  if (rest.length > 0)
    throw new UsageError(`one prompt is expected, got ${positionals.length}; put it in quotation marks`);
  if (values.engine !== undefined && values.url !== undefined)
    throw new UsageError('--engine is for the stage server started here; with --url there is none');
  if (values.stage !== undefined && values.url !== undefined)
    throw new UsageError('--stage is for the service started here; with --url there is none');
  const asked = {
    preset: values.preset,
    model: values.model,
    seed: values.seed === undefined ? undefined : number('--seed', values.seed),
    upsampling: values.upsampling,
    r: values.r === undefined ? undefined : parseShares(values.r),
    published: values.published,
    reference: values.reference,
    guidance: values.guidance === undefined ? undefined : number('--guidance', values.guidance),
    negative_prompt: values['negative-prompt'],
  };
  const out = values.out ?? (values.from === undefined ? `${PICTURES}/${slug(prompt)}.png` : again(values.from));
  return {
    prompt,
    body: {
      prompt,
      output_format: formatOf(out),
      ...(values.size === undefined ? {} : pixelSize('--size', values.size)),
      ...(values.enlarge === undefined ? {} : { enlarge: pixelSize('--enlarge', values.enlarge) }),
      ...Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined)),
    },
    out,
    from: values.from ?? null,
    compare: values.compare,
    engine: oneOf('--engine', values.engine ?? 'native', ['native', 'wasm']),
    stage: parseStage(values, env),
    service: values.url === undefined ? null : parseService(values.url, values.key ?? env.RALU_API_KEY),
    json: values.json,
  };
}

/** Flags that say where and how, not what: they go with `--from`. */
const BESIDE_FROM: readonly string[] = ['from', 'out', 'engine', 'stage', 'stage-token', 'url', 'key', 'json'];

/** Throws UsageError for whatever would ask for another picture than the one in the file. */
function refuseBeside(values: Readonly<Record<string, unknown>>, positionals: readonly string[]): void {
  if (positionals.length > 0) throw new UsageError('--from takes the prompt from the picture: leave yours out');
  const other = Object.keys(values).find((flag) => values[flag] && !BESIDE_FROM.includes(flag));
  if (other !== undefined) throw new UsageError(`--from takes everything from the picture: leave out --${other}`);
}

/** `apple.png` → `apple.again.png`. */
const again = (file: string): string => `${file.slice(0, file.length - extname(file).length)}.again${extname(file)}`;

function parseShares(text: string): number | number[] {
  const shares = text.split(',').map((share) => number('--r', share));
  return shares.length === 1 ? (shares[0] as number) : shares;
}

function parseService(text: string, key: string | undefined): { url: string; key: string } {
  const url = parseAddress('--url', text);
  if (key === undefined || key === '')
    throw new UsageError('--url needs the key of the service: --key or the environment variable RALU_API_KEY');
  return { url, key };
}

const FORMATS: Readonly<Record<string, ImageFormat>> = {
  '.png': 'png',
  '.webp': 'webp',
  '.jpg': 'jpeg',
  '.jpeg': 'jpeg',
};

/** The format that the file name tells. */
export function formatOf(out: string): ImageFormat {
  const format = FORMATS[extname(out).toLowerCase()];
  if (format === undefined) throw new UsageError(`--out must end in .png, .webp, .jpg or .jpeg; got "${out}"`);
  return format;
}

const MAX_SLUG = 60;

/** A file name from a prompt: letters and digits of any script, the rest as hyphens. */
function slug(prompt: string): string {
  const name = prompt
    .toLowerCase()
    .normalize('NFKC')
    .replace(/[^\p{L}\p{N}]+/gu, '-')
    .replace(/^-+|-+$/g, '');
  return [...name].slice(0, MAX_SLUG).join('').replace(/-+$/, '') || 'picture';
}
