/**
 * Writes the golden messages from their listing.
 *
 *   npx node test/contract/golden/make.ts                       those of version 2 and later
 *   npx node test/contract/golden/make.ts --version-1 CHECKOUT  those of version 1, with the code of that checkout
 */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import type * as Client from '../../../src/stage/client.ts';
import type * as Contract from '../../../src/stage/contract.ts';
import type * as Format from '../../../src/stage/safetensors.ts';
import { goldenUrl, listedMessages } from './listed.ts';

const { 'version-1': old } = parseArgs({ options: { 'version-1': { type: 'string' } } }).values;
const stage = pathToFileURL(resolve(old ?? resolve(import.meta.dirname, '../../..'), 'src/stage/')).href;
const { encodeStageRequest } = (await import(`${stage}/client.ts`)) as typeof Client;
const { parseMetadata, REQUEST_TEXTS, stageOptions } = (await import(`${stage}/contract.ts`)) as typeof Contract;
const { encodeMessage } = (await import(`${stage}/safetensors.ts`)) as typeof Format;

for (const { file, kind, version, metadata, tensors } of listedMessages()) {
  if ((version === 1) !== (old !== undefined)) continue;
  const { latents, img_ids, sigmas, scale } = tensors;
  const bytes =
    kind === 'answer'
      ? encodeMessage({ metadata, tensors })
      : encodeStageRequest(stageOptions.parse(parseMetadata(metadata, REQUEST_TEXTS)), {
          latents: latents?.data as Float32Array,
          imgIds: img_ids?.data as Float32Array,
          sigmas: sigmas?.data as Float32Array,
          scale: scale?.data as Uint8Array,
        });
  writeFileSync(goldenUrl(file), bytes);
  process.stdout.write(`${file} ${bytes.length} bytes\n`);
}
