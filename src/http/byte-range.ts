/** The part of something that a GET asks for, by RFC 9110, section 14. Pure. */
import { parse } from 'range-parser';
import type { Representation } from './precondition.ts';

/** What the parser says of a header that it understood, and of one whose ranges lie outside. */
const UNDERSTOOD = 0;
const OUTSIDE = 2;

/** First and last byte, both included. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * What the headers of a GET ask of `size` bytes: one range; `all` where they name none, name several, make no sense or
 * mean another representation (If-Range); `none` where the range lies outside.
 */
export function askedRange(
  headers: Headers,
  { etag, modified }: Representation,
  size: number,
): ByteRange | 'all' | 'none' {
  const range = headers.get('range');
  if (range === null) return 'all';
  const ifRange = headers.get('if-range');
  if (ifRange !== null && ifRange !== etag && ifRange !== modified.toUTCString()) return 'all';
  const { code, type, ranges } = parse(size, range);
  if (type !== 'bytes') return 'all';
  const [first, ...others] = ranges;
  if (code === OUTSIDE && !first) return 'none';
  return code === UNDERSTOOD && first && others.length === 0 ? first : 'all';
}
