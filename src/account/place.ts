/**
 * Where an account and its jobs are kept, as four letters in every key and job id: two for the jurisdiction, two for
 * the region. So whoever reads one knows which objects to ask, without asking any.
 */

export interface Place {
  readonly jurisdiction: 'none';
  readonly region: 'any';
}

const JURISDICTIONS: Readonly<Record<string, Place['jurisdiction']>> = { no: 'none' };
const REGIONS: Readonly<Record<string, Place['region']>> = { an: 'any' };

/** Anywhere: what every account has. */
export const ANYWHERE: Place = { jurisdiction: 'none', region: 'any' };

const codeIn = (codes: Readonly<Record<string, string>>, name: string): string =>
  Object.keys(codes).find((code) => codes[code] === name) as string;

/** The four letters of a place. Law: `placeOf(placeCode(place))` is `place`. */
export const placeCode = ({ jurisdiction, region }: Place): string =>
  codeIn(JURISDICTIONS, jurisdiction) + codeIn(REGIONS, region);

/** The place that four letters name; null where they name none. */
export function placeOf(code: string): Place | null {
  const jurisdiction = JURISDICTIONS[code.slice(0, 2)];
  const region = REGIONS[code.slice(2)];
  return jurisdiction && region ? { jurisdiction, region } : null;
}
