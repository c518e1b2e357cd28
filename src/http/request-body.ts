/** What every body must be before it is read. */
import { Gunzip, Unzlib } from 'fflate';
import { bodyLimit } from 'hono/body-limit';
import { every } from 'hono/combine';
import { createMiddleware } from 'hono/factory';
import { WHOLE_BODY } from '../doors/problem.ts';
import { refuseShape } from './body-shape.ts';
import type { AppEnv } from './env.ts';
import { badField, Problem } from './problem.ts';

const MAX_BODY_BYTES = 256 * 1024;

const tooLarge = (maxBytes: number): Problem =>
  new Problem({
    status: 413,
    code: 'body_too_large',
    detail: `The body may have at most ${maxBytes} bytes.`,
  });

const limitSentBytes = (maxBytes: number) =>
  bodyLimit({
    maxSize: maxBytes,
    onError: () => {
      throw tooLarge(maxBytes);
    },
  });

/** The request in other words: it ends with the one that came, and comes from where that one came from. */
export const rewritten = (request: Request, init: Pick<RequestInit, 'headers' | 'body'>): Request =>
  new Request(request, { ...init, signal: request.signal, ...(request.cf && { cf: request.cf }) });

/** Codings of a body that are undone here. */
const CODINGS = { gzip: Gunzip, 'x-gzip': Gunzip, deflate: Unzlib } as const;
/** Packed bytes that are unpacked at once: each comes to a thousand at most, and the bound is looked at after them. */
const SLICE_BYTES = 256;

/** What packed bytes come to. Throws a 413 Problem where that is too long, and what the format throws. */
function unpacked(packed: Uint8Array, Coding: (typeof CODINGS)[keyof typeof CODINGS], maxBytes: number): Blob {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  const stream = new Coding((chunk) => {
    length += chunk.length;
    chunks.push(chunk as Uint8Array<ArrayBuffer>);
  });
  for (let at = 0; at < Math.max(1, packed.length); at += SLICE_BYTES) {
    stream.push(packed.subarray(at, at + SLICE_BYTES), at + SLICE_BYTES >= packed.length);
    if (length > maxBytes) throw tooLarge(maxBytes);
  }
  return new Blob(chunks);
}

const isKnown = (coding: string): coding is keyof typeof CODINGS => Object.hasOwn(CODINGS, coding);

/** Undoes the coding of a body. What it comes to is as bounded as one that comes without. */
const undoCoding = (maxBytes: number) =>
  createMiddleware<AppEnv>(async function undoCoding(c, next) {
    const coding = c.req.header('content-encoding')?.trim().toLowerCase() ?? 'identity';
    const { body } = c.req.raw;
    if (coding === 'identity' || coding === '' || !body) return next();
    if (!isKnown(coding)) {
      const { fields } = badField('content-encoding', coding, 'must be gzip or deflate', 'unsupported_media_type');
      throw new Problem({ ...fields, status: 415, headers: { 'accept-encoding': 'gzip, deflate' } });
    }
    const packed = new Uint8Array(await c.req.raw.arrayBuffer());
    let plain: Blob;
    try {
      plain = unpacked(packed, CODINGS[coding], maxBytes);
    } catch (error) {
      throw error instanceof Problem ? error : badField(WHOLE_BODY, undefined, `must be ${coding}, as its header says`);
    }
    const headers = new Headers(c.req.raw.headers);
    headers.delete('content-encoding');
    headers.delete('content-length');
    c.req.raw = rewritten(c.req.raw, { headers, body: plain });
    return next();
  });

/** Refuses a body of more bytes, also where it is only long once its coding is undone. */
export const limitBodyTo = (maxBytes: number) => every(limitSentBytes(maxBytes), undoCoding(maxBytes));

/** Refuses a longer body than any request for pictures has. */
export const limitBody = limitBodyTo(MAX_BODY_BYTES);

/** Types of JSON, in lower case and without parameters. */
const JSON_TYPE = /^application\/(?:[a-z0-9.-]+\+)?json$/;
/** The spellings of it that the router reads as JSON; any other would slip past the contract unread. */
const READ_AS_JSON = /^application\/(?:[a-z-.]+\+)?json(?:;\s*[a-zA-Z0-9-]+=[^;]+)*$/;

/** Refuses what is not JSON, or has parts too large, before the contract is looked at. */
export const requireJson = createMiddleware<AppEnv>(async function requireJson(c, next) {
  const type = c.req.header('content-type') ?? '';
  if (!JSON_TYPE.test(type.split(';', 1)[0]?.trim().toLowerCase() ?? '')) {
    const { fields } = badField('content-type', type, 'must be application/json', 'unsupported_media_type');
    throw new Problem({ ...fields, status: 415 });
  }
  if (!READ_AS_JSON.test(type)) {
    const headers = new Headers(c.req.raw.headers);
    headers.set('content-type', 'application/json');
    c.req.raw = rewritten(c.req.raw, { headers });
  }
  const body: unknown = await c.req.json().catch(() => {
    throw badField(WHOLE_BODY, undefined, 'must be JSON');
  });
  const refusal = refuseShape(body);
  if (refusal) throw badField(refusal.field, refusal.value, refusal.rule);
  // parsed once, and its text let go: a picture file in it may have sixteen million characters
  c.req.json = () => Promise.resolve(body as never);
  c.req.bodyCache = {};
  await next();
});
