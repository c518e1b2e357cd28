/** The regions where a deployment has stage servers: a list in the configuration. Pure. */
import { z } from 'zod';
import { JURISDICTIONS, type Jurisdiction } from '../account/place.ts';
import type { Backend } from './backends.ts';

/**
 * Where the platform can be asked to make an object.
 * https://developers.cloudflare.com/durable-objects/reference/data-location/#supported-locations
 */
export const LOCATION_HINTS = ['wnam', 'enam', 'sam', 'weur', 'eeur', 'apac', 'oc', 'afr', 'me'] as const;
export type LocationHint = (typeof LOCATION_HINTS)[number];

const MAX_REGIONS = 32;
const MAX_FAULTS = 4;
const MAX_SHOWN = 60;

const degrees = (most: number) => {
  const rule = `must be a number of degrees from -${most} to ${most}`;
  return z.number(rule).min(-most, rule).max(most, rule);
};

const region = z.strictObject({
  id: z.string('must be text').regex(/^[a-z0-9-]{1,64}$/, 'must have 1 to 64 of a-z, 0-9 and -'),
  latitude: degrees(90),
  longitude: degrees(180),
  /** where the objects of jobs are made that begin here; null: near the caller, as the platform does by itself */
  hint: z
    .enum(LOCATION_HINTS, `must be one of ${LOCATION_HINTS.join(', ')}, or null`)
    .nullable()
    .default(null),
  /** the law that its servers are under; null: none that an account could ask for */
  jurisdiction: z
    .enum(JURISDICTIONS, `must be one of ${JURISDICTIONS.join(', ')}, or null`)
    .nullable()
    .default(null),
});
export type Region = z.infer<typeof region>;

const regions = z
  .array(region, 'must be a list')
  .max(MAX_REGIONS, `must have at most ${MAX_REGIONS} regions`)
  .refine((list) => new Set(list.map(({ id }) => id)).size === list.length, 'two regions have the same id');

/**
 * The regions of a configuration text; empty text has none. Throws an Error that names the variable, the field, its
 * value and the rule.
 */
export function parseRegions(text: string | undefined): readonly Region[] {
  if (!text) return [];
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    throw new Error('REGIONS is not JSON');
  }
  const parsed = regions.safeParse(list);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.slice(0, MAX_FAULTS).map((issue) => describeIssue(issue, list));
  throw new Error(faults.join('; '));
}

/** `REGIONS[0].latitude: got 91; must be …`. */
function describeIssue({ path, message }: z.core.$ZodIssue, list: unknown): string {
  const field = path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('');
  const value = path.reduce<unknown>((inside, key) => (inside as Record<PropertyKey, unknown> | null)?.[key], list);
  const got = typeof value === 'object' ? '' : `got ${JSON.stringify(value)?.slice(0, MAX_SHOWN)}; `;
  return `REGIONS${field}: ${got}${message}`;
}

/** What is wrong with where backends say they stand; null where nothing is. Without regions any name is one. */
export function faultOfStanding(known: readonly Region[], backends: readonly Backend[]): string | null {
  if (known.length === 0) return null;
  const ids = known.map(({ id }) => id);
  const lost = backends.find((backend) => !ids.includes(backend.region));
  if (!lost) return null;
  const got = JSON.stringify(lost.region).slice(0, MAX_SHOWN);
  return `BACKENDS, backend ${lost.id}, region: got ${got}; must be one of REGIONS: ${ids.join(', ')}`;
}

/** The jurisdiction of a region by its name; null where it has none, or is just a name. */
export const jurisdictionOf = (known: readonly Region[], id: string): Jurisdiction | null =>
  known.find((one) => one.id === id)?.jurisdiction ?? null;
