/** Conditional requests of something that exists, by RFC 9110, section 13. Pure. */

/** What is there: its entity tag in quotes, and when it was last changed. */
export interface Representation {
  readonly etag: string;
  readonly modified: Date;
}

/** `proceed`: send it; `not_modified`: a 304; `failed`: a 412. */
export type Precondition = 'proceed' | 'not_modified' | 'failed';

const CONDITIONS = ['if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since'];

/** Whether a request has conditions. */
export const isConditional = (headers: Headers): boolean => CONDITIONS.some((name) => headers.has(name));

/**
 * What the conditions of a GET or HEAD come to, in the order of section 13.2.2. A list of tags that is none matches
 * nothing, and a date that is none is as good as absent.
 */
export function checkPreconditions(headers: Headers, { etag, modified }: Representation): Precondition {
  const seconds = Math.floor(modified.getTime() / 1000);
  const ifMatch = headers.get('if-match');
  if (ifMatch !== null) {
    // strong comparison: a weak tag matches nothing
    if (!isAny(ifMatch) && !tagsOf(ifMatch).includes(etag)) return 'failed';
  } else {
    const unmodifiedSince = secondsOf(headers.get('if-unmodified-since'));
    if (unmodifiedSince !== null && seconds > unmodifiedSince) return 'failed';
  }
  const ifNoneMatch = headers.get('if-none-match');
  if (ifNoneMatch !== null) {
    const isSeen = isAny(ifNoneMatch) || tagsOf(ifNoneMatch).map(opaque).includes(opaque(etag));
    return isSeen ? 'not_modified' : 'proceed';
  }
  const modifiedSince = secondsOf(headers.get('if-modified-since'));
  return modifiedSince !== null && seconds <= modifiedSince ? 'not_modified' : 'proceed';
}

const isAny = (list: string): boolean => list.trim() === '*';

/** A tag without its mark of weakness. */
const opaque = (tag: string): string => tag.replace(/^W\//, '');

const TAG = String.raw`(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"`;
const TAGS = new RegExp(String.raw`^[\t ,]*${TAG}(?:[\t ]*,[\t ,]*${TAG})*[\t ,]*$`);

/** The entity tags of a list; none where it is not one. */
const tagsOf = (list: string): readonly string[] => (TAGS.test(list) ? (list.match(new RegExp(TAG, 'g')) ?? []) : []);

const MONTH = '(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)';
const TIME = String.raw`\d{2}:\d{2}:\d{2}`;
/** the one form in use and the two that are obsolete, section 5.6.7 */
const HTTP_DATES = [
  new RegExp(String.raw`^[A-Z][a-z]{2}, \d{2} ${MONTH} \d{4} ${TIME} GMT$`),
  new RegExp(String.raw`^[A-Z][a-z]{5,8}, \d{2}-${MONTH}-\d{2} ${TIME} GMT$`),
  new RegExp(String.raw`^[A-Z][a-z]{2} ${MONTH} [ \d]\d ${TIME} \d{4}$`),
];

/** Unix seconds of an HTTP date; null where it is none. */
function secondsOf(date: string | null): number | null {
  if (date === null || !HTTP_DATES.some((form) => form.test(date))) return null;
  const ms = Date.parse(date.endsWith('GMT') ? date : `${date} GMT`);
  return Number.isNaN(ms) ? null : ms / 1000;
}
