/** A request of this page as code that runs elsewhere. The key is never in it: it comes from the environment. */

/**
 * @typedef {object} ImageRequest
 * @property {string} model
 * @property {string} prompt
 * @property {string} size `256x256`
 * @property {number | null} seed null: drawn
 * @property {Record<string, unknown>} ralu preset, and r where it is not the preset's own
 */

/** For a POSIX shell. @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** As an object literal of JavaScript, spaces inside. @param {Record<string, unknown>} value */
const literal = (value) =>
  `{ ${Object.entries(value)
    .map(([name, held]) => `${name}: ${JSON.stringify(held)}`)
    .join(', ')} }`;

/** @param {string} origin @param {ImageRequest} request */
export function asCurl(origin, { model, prompt, size, seed, ralu }) {
  const body = { model, prompt, size, ...(seed !== null && { seed }), ralu };
  return `curl -s ${origin}/v1/images/generations \\
  -H "Authorization: Bearer $RALU_API_KEY" \\
  -H 'Content-Type: application/json' -H 'Accept: image/png' \\
  -d ${quoted(JSON.stringify(body))} \\
  -o image.png`;
}

/** @param {string} origin @param {ImageRequest} request */
export function asJavaScript(origin, { model, prompt, size, seed, ralu }) {
  return `import { writeFile } from 'node:fs/promises';
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: '${origin}/v1', apiKey: process.env.RALU_API_KEY });
const { data } = await client.images.generate({
  model: ${JSON.stringify(model)},
  prompt: ${JSON.stringify(prompt)},
  size: ${JSON.stringify(size)},${seed === null ? '' : `\n  seed: ${seed},`}
  ralu: ${literal(ralu)},
});
await writeFile('image.png', data[0].b64_json, 'base64');`;
}

/** @param {string} origin @param {ImageRequest} request */
export function asPython(origin, { model, prompt, size, seed, ralu }) {
  const extra = { ...(seed !== null && { seed }), ralu };
  return `import base64, os
from openai import OpenAI

client = OpenAI(base_url="${origin}/v1", api_key=os.environ["RALU_API_KEY"])
image = client.images.generate(
    model=${JSON.stringify(model)},
    prompt=${JSON.stringify(prompt)},
    size=${JSON.stringify(size)},
    extra_body=${JSON.stringify(extra)},
)
open("image.png", "wb").write(base64.b64decode(image.data[0].b64_json))`;
}
