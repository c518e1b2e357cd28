/**
 * A request as code that runs elsewhere and makes the same picture. The key is never in it: it comes from the
 * environment.
 *
 * @import { RequestAgain } from '../../src/job/job.ts'
 * @import { ListedModel, Preset } from '../wire/service.js'
 */

/** A body of `POST /v1/jobs`. @typedef {Partial<Omit<RequestAgain, 'r'>> & { r?: number | readonly number[] }} Body */

/**
 * The same request without what it would get anyway. Law: it makes the same picture.
 *
 * @param {RequestAgain} request
 * @param {ListedModel | undefined} model
 * @returns {Body}
 */
export function shortened(request, model) {
  /** @type {readonly Preset[]} */
  const presets = model?.presets ?? [];
  const preset = presets.find(({ name }) => name === request.preset);
  /** @type {Readonly<Record<string, unknown>>} */
  const usual = {
    solver: 'euler',
    selection: 'canny',
    output_format: 'png',
    metadata: true,
    ...(model && { upsampling: model.upsampling[0], guidance: model.guidance?.default }),
    ...(preset && { r: preset.r, cache: preset.cache }),
  };
  const kept = Object.entries(request).filter(
    ([name, value]) => JSON.stringify(usual[name]) !== JSON.stringify(value) || usual[name] === undefined,
  );
  return /** @type {Body} */ (Object.fromEntries(kept));
}

/** For a POSIX shell. @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** As JavaScript, names bare, spaces inside. @param {unknown} value @returns {string} */
function literal(value) {
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).map(([name, held]) => `${name}: ${literal(held)}`);
  return fields.length === 0 ? '{}' : `{ ${fields.join(', ')} }`;
}

/** As Python, where true, false and null are called otherwise. @param {unknown} value @returns {string} */
function python(value) {
  if (Array.isArray(value)) return `[${value.map(python).join(', ')}]`;
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value !== 'object') return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([name, held]) => `${JSON.stringify(name)}: ${python(held)}`)
    .join(', ')}}`;
}

/** A request in the words of OpenAI's image API. @param {Body} body */
function openai({ model, prompt, width, height, seed, output_format, negative_prompt, guidance, quality, ...ralu }) {
  return {
    own: {
      ...(model !== undefined && { model }),
      prompt,
      ...(width !== undefined && { size: `${width}x${height}` }),
      ...(output_format !== undefined && { output_format }),
      ...(quality !== undefined && { output_compression: quality }),
    },
    more: {
      ...(seed !== undefined && { seed }),
      ...(negative_prompt !== undefined && { negative_prompt }),
      ...(guidance !== undefined && { guidance }),
      ...(Object.keys(ralu).length > 0 && { ralu }),
    },
  };
}

/** @param {Body} body */
const fileOf = ({ output_format = 'png' }) => `picture.${output_format}`;

/** The fields of an object literal, one a line. @param {object} value @param {string} indent */
const lines = (value, indent) =>
  Object.entries(value)
    .map(([name, held]) => `\n${indent}${name}: ${literal(held)},`)
    .join('');

/** @param {string} base @param {Body} body */
function asCurl(base, body) {
  const { own, more } = openai(body);
  return `curl -s ${base}/v1/images/generations \\
  -H "Authorization: Bearer $RALU_API_KEY" \\
  -H 'Content-Type: application/json' -H 'Accept: image/*' \\
  -d ${quoted(JSON.stringify({ ...own, ...more }))} \\
  -o ${fileOf(body)}`;
}

/** @param {string} base @param {Body} body */
function asOpenAI(base, body) {
  const { own, more } = openai(body);
  return `import { writeFile } from 'node:fs/promises';
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: '${base}/v1', apiKey: process.env.RALU_API_KEY });
const { data } = await client.images.generate({${lines({ ...own, ...more }, '  ')}
});
await writeFile('${fileOf(body)}', data[0].b64_json, 'base64');`;
}

/** @param {string} base @param {Body} body */
function asStream(base, body) {
  const { own, more } = openai(body);
  return `import { writeFile } from 'node:fs/promises';
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: '${base}/v1', apiKey: process.env.RALU_API_KEY });
const stream = await client.images.generate({${lines({ ...own, ...more, stream: true, partial_images: 3 }, '  ')}
});
for await (const event of stream) {
  if (event.type === 'image_generation.partial_image')
    await writeFile(\`stage-\${event.partial_image_index + 1}.${fileOf(body).split('.')[1]}\`, event.b64_json, 'base64');
  if (event.type === 'image_generation.completed') await writeFile('${fileOf(body)}', event.b64_json, 'base64');
}`;
}

/** @param {string} base @param {Body} body */
function asPython(base, body) {
  const { own, more } = openai(body);
  const fields = Object.entries(own).map(([name, value]) => `\n    ${name}=${python(value)},`);
  return `import base64, os
from openai import OpenAI

client = OpenAI(base_url="${base}/v1", api_key=os.environ["RALU_API_KEY"])
image = client.images.generate(${fields.join('')}
    extra_body=${python(more)},
)
open("${fileOf(body)}", "wb").write(base64.b64decode(image.data[0].b64_json))`;
}

/** @param {string} base @param {Body} body */
function asFal(base, body) {
  const { model = 'default', width, height, ...input } = body;
  const sized = { ...(width !== undefined && { image_size: { width, height } }), ...input };
  return `import { writeFile } from 'node:fs/promises';
import { createFalClient } from '@fal-ai/client';

const fal = createFalClient({
  credentials: process.env.RALU_API_KEY,
  requestMiddleware: async (request) => ({
    ...request,
    url: request.url.replace('https://queue.fal.run', '${base}/fal/queue'),
  }),
});
const { data } = await fal.subscribe(${JSON.stringify(`ralu/${model}`)}, {
  input: {${lines(sized, '    ')}
  },
});
await writeFile('${fileOf(body)}', await (await fetch(data.images[0].url)).bytes());`;
}

/** @param {string} base @param {Body} body */
function asReplicate(base, body) {
  const { model = 'default', ...input } = body;
  return `import { writeFile } from 'node:fs/promises';
import Replicate from 'replicate';

const replicate = new Replicate({ auth: process.env.RALU_API_KEY, baseUrl: '${base}/v1' });
const [picture] = await replicate.run(${JSON.stringify(`ralu/${model}`)}, {
  input: {${lines(input, '    ')}
  },
});
await writeFile('${fileOf(body)}', await (await fetch(String(picture))).bytes());`;
}

/**
 * The languages, by what they are called: each makes code of the service's address and a request.
 *
 * @type {Readonly<Record<string, { name: string, write: (base: string, body: Body) => string }>>}
 */
export const LANGUAGES = {
  curl: { name: 'curl', write: asCurl },
  javascript: { name: 'OpenAI for JavaScript', write: asOpenAI },
  stream: { name: 'OpenAI for JavaScript, each stage', write: asStream },
  python: { name: 'OpenAI for Python', write: asPython },
  fal: { name: 'fal for JavaScript', write: asFal },
  replicate: { name: 'Replicate for JavaScript', write: asReplicate },
};
