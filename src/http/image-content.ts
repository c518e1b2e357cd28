/** Pictures in the OpenAPI document: bytes, in the formats that there are. */
import { z } from '@hono/zod-openapi';
import { type ImageFormat, imageFormat } from '../stage/contract.ts';

const bytes = z.string().openapi({ format: 'binary' });

export const IMAGE_CONTENT = Object.fromEntries(
  imageFormat.options.map((format) => [`image/${format}`, { schema: bytes }]),
) as Record<`image/${ImageFormat}`, { schema: typeof bytes }>;
