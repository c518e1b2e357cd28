/**
 * Where the jobs of an account are kept, as four letters in every key and job id: two for the jurisdiction, two for the
 * region. So whoever reads one knows which objects to ask, without asking any. The letters of a key are those of the
 * jobs that are started with it; the account's own object is the same wherever its jobs are.
 */

/**
 * Laws under which objects and buckets can be kept: those that the platform has for both.
 * https://developers.cloudflare.com/durable-objects/reference/data-location/
 * https://developers.cloudflare.com/r2/reference/data-location/
 */
export const JURISDICTIONS = ['eu', 'us', 'fedramp'] as const;
export type Jurisdiction = (typeof JURISDICTIONS)[number];

export interface Place {
  /** null: wherever the platform likes */
  readonly jurisdiction: Jurisdiction | null;
  readonly region: 'any';
}

const JURISDICTION_CODES = new Map<string, Jurisdiction | null>([
  ['no', null],
  ['eu', 'eu'],
  ['us', 'us'],
  ['fe', 'fedramp'],
]);
const REGION_CODES = new Map<string, Place['region']>([['an', 'any']]);

/** Anywhere: what accounts have that did not ask for a jurisdiction. */
export const ANYWHERE: Place = { jurisdiction: null, region: 'any' };

/** The place of a jurisdiction. */
export const placeIn = (jurisdiction: Jurisdiction | null): Place => ({ jurisdiction, region: 'any' });

const codeIn = <T>(codes: ReadonlyMap<string, T>, what: T): string =>
  [...codes].find(([, named]) => named === what)?.[0] as string;

/** The four letters of a place. Law: `placeOf(placeCode(place))` is `place`. */
export const placeCode = ({ jurisdiction, region }: Place): string =>
  codeIn(JURISDICTION_CODES, jurisdiction) + codeIn(REGION_CODES, region);

/** The place that four letters name; null where they name none. */
export function placeOf(code: string): Place | null {
  const jurisdiction = JURISDICTION_CODES.get(code.slice(0, 2));
  const region = REGION_CODES.get(code.slice(2));
  return jurisdiction === undefined || region === undefined ? null : { jurisdiction, region };
}
