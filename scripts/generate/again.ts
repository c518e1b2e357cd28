/** `--from picture.png`: the request that a picture holds, held against the models of the service. */
import { readFile } from 'node:fs/promises';
import type { ModelFacts } from '../../src/stage/contract.ts';
import { request, type Service } from './client.ts';
import { readLabel } from './label.ts';
import { formatOf, type GenerateOptions } from './options.ts';

/** The picture cannot be made again, and why. */
export class NotAgain extends Error {
  override name = 'NotAgain';
}

/** A picture that is to be made again. */
export interface Original {
  readonly file: string;
  readonly bytes: Uint8Array;
  readonly model: string;
  readonly digest: string;
}

/** What decides the bytes of a picture. Whatever else is in it was written by others, and is asked of nobody. */
const FIELDS = [
  'model',
  'prompt',
  'negative_prompt',
  'width',
  'height',
  'enlarge',
  'seed',
  'preset',
  'published',
  'N',
  'e',
  'h',
  'Z',
  'r',
  'z_max',
  'cache',
  'solver',
  'selection',
  'upsampling',
  'reference',
  'guidance',
  'output_format',
  'quality',
] as const;

/**
 * The options with the request that the picture `file` holds. Throws NotAgain where it holds none, or is to be of
 * another format, and what the file system throws.
 */
export async function fromPicture(
  options: GenerateOptions,
  file: string,
): Promise<{ readonly options: GenerateOptions; readonly original: Original }> {
  const bytes = new Uint8Array(await readFile(file));
  const { again, parameters } = await readLabel(bytes).catch(() => {
    throw new NotAgain(`${file} is no picture that can be read`);
  });
  if (!again)
    throw new NotAgain(
      parameters === ''
        ? `${file} does not say how it was made: it is not of this service, was made without metadata, or a program took that out`
        : `${file} has the settings of another program, and no request that can be made here again`,
    );
  const held = Object.fromEntries(
    FIELDS.map((field) => [field, again.request[field]]).filter(([, value]) => value != null),
  );
  const { model, prompt, output_format } = again.request;
  if (formatOf(options.out) !== output_format)
    throw new NotAgain(
      `${file} holds a request for ${output_format}; --out must end as such a file does, got "${options.out}"`,
    );
  return {
    options: { ...options, prompt, body: { ...held, prompt, output_format, metadata: true } },
    original: { file, bytes, model: String(model), digest: again.model_digest },
  };
}

/** Throws NotAgain where the service has no such model, or another build of it. */
export async function checkModel(service: Service, { file, model, digest }: Original): Promise<void> {
  const { data } = (await (await request(service, '/v1/models')).json()) as {
    readonly data: readonly Pick<ModelFacts, 'id' | 'digest'>[];
  };
  const served = data.find(({ id }) => id === model);
  if (!served)
    throw new NotAgain(
      `${file} was made by model ${model}, which is not here; there are: ${data.map(({ id }) => id).join(', ')}`,
    );
  if (served.digest !== digest)
    throw new NotAgain(`${file} was made by build ${digest} of model ${model}; here is build ${served.digest}`);
}

/** What came of it, for people. */
export const describeAgain = ({ file, bytes }: Original, image: Uint8Array): string =>
  isSame(bytes, image)
    ? `again      the same bytes as ${file}`
    : `again      other bytes than ${file}: it was made on another engine, by another version, or was changed since`;

export const isSame = (one: Uint8Array, other: Uint8Array): boolean => Buffer.from(one).equals(other);
