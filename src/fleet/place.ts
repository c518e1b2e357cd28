/** Where a job is to run: its regions, best first. Pure. */
import type { Jurisdiction } from '../account/place.ts';
import type { Backend } from './backends.ts';
import { fitOf, type Needs } from './fit.ts';
import { type KnownServer, mayServe, servedBy } from './models.ts';
import { jurisdictionOf, type LocationHint, type Region } from './regions.ts';

/** A server with where it stands. */
export interface StandingServer extends KnownServer {
  readonly backend: Pick<Backend, 'id' | 'models' | 'region' | 'weight'>;
}

/** A place on the earth, degrees. */
export interface Spot {
  readonly latitude: number;
  readonly longitude: number;
}

/**
 * How a region stands for a job:
 *
 *   well                 a server there has the model, and answers
 *   away                 those that have it did not answer when they were last asked
 *   drained              they begin nothing more (weight 0)
 *   not_known            nothing is known of those that may have it
 *   lacking              those that have it lack a feature that the job needs
 *   no_server            none has it
 *   other_jurisdiction   the account's jobs may not go there
 */
export type RegionStanding = (typeof ORDER)[number];

/** From the best to the worst. */
const ORDER = ['well', 'away', 'drained', 'not_known', 'lacking', 'no_server', 'other_jurisdiction'] as const;

export interface RegionReason {
  readonly region: string;
  readonly standing: RegionStanding;
  /** from the caller, kilometres; null: not known */
  readonly km: number | null;
}

export interface Placed {
  /** ids of the regions that the job may use, best first; empty: there is none */
  readonly regions: readonly string[];
  /** where its object is best made; null: the platform decides */
  readonly hint: LocationHint | null;
  /** every region, in that order, those that are none behind */
  readonly reasons: readonly RegionReason[];
}

const USABLE: readonly RegionStanding[] = ORDER.slice(0, 5);

/**
 * The regions that a job may use, the nearest healthy one first, then those where nobody answers now: a job waits for a
 * server that is away or lacks something. Distances are along the great circle; where the caller's place or a region's
 * is not known, the order of the configuration decides. Without REGIONS, each name that a backend gives is a region
 * without a place. Laws: no region without a server that has, or may have, the model; none outside the jurisdiction; a
 * healthy one is never behind another; among equals distances never fall.
 */
export function place({
  caller,
  regions,
  servers,
  needs,
  jurisdiction,
}: {
  readonly caller: Spot | null;
  readonly regions: readonly Region[];
  readonly servers: readonly StandingServer[];
  readonly needs: Needs;
  readonly jurisdiction: Jurisdiction | null;
}): Placed {
  const known: readonly (Pick<Region, 'id' | 'hint'> & Partial<Spot>)[] =
    regions.length > 0
      ? regions
      : [...new Set(servers.map(({ backend }) => backend.region))].map((id) => ({ id, hint: null }));
  const judged = known.map((region, index) => ({
    index,
    hint: region.hint,
    region: region.id,
    standing: mayKeep(regions, region.id, jurisdiction) ? standingOf(region.id, servers, needs) : 'other_jurisdiction',
    km: distanceTo(caller, region),
  })) satisfies readonly (RegionReason & { index: number })[];
  const ordered = judged.toSorted(
    (a, b) =>
      ORDER.indexOf(a.standing) - ORDER.indexOf(b.standing) ||
      (a.km ?? Number.MAX_VALUE) - (b.km ?? Number.MAX_VALUE) ||
      a.index - b.index,
  );
  const usable = ordered.filter(({ standing }) => USABLE.includes(standing));
  return {
    regions: usable.map(({ region }) => region),
    hint: usable[0]?.hint ?? null,
    reasons: ordered.map(({ region, standing, km }) => ({ region, standing, km })),
  };
}

/** The servers where jobs of this jurisdiction may run. Others are not asked, and their models not offered. */
export const serversIn = <Server extends StandingServer>(
  servers: readonly Server[],
  regions: readonly Region[],
  jurisdiction: Jurisdiction | null,
): readonly Server[] => servers.filter(({ backend }) => mayKeep(regions, backend.region, jurisdiction));

const mayKeep = (regions: readonly Region[], id: string, jurisdiction: Jurisdiction | null): boolean =>
  jurisdiction === null || jurisdictionOf(regions, id) === jurisdiction;

function standingOf(region: string, servers: readonly StandingServer[], needs: Needs): RegionStanding {
  const standings = servers
    .filter(({ backend }) => backend.region === region)
    .map((server): RegionStanding => {
      const { list, backend, fault } = server;
      if (!list) return mayServe(backend, needs.model) ? 'not_known' : 'no_server';
      if (!servedBy(server, needs)) return 'no_server';
      if (!fitOf(server, needs, null).fit) return 'lacking';
      if (backend.weight === 0) return 'drained';
      return fault === null ? 'well' : 'away';
    });
  return ORDER.find((standing) => standings.includes(standing)) ?? 'no_server';
}

const distanceTo = (caller: Spot | null, { latitude, longitude }: Partial<Spot>): number | null =>
  caller && latitude !== undefined && longitude !== undefined
    ? Math.round(greatCircle(caller, { latitude, longitude }))
    : null;

const EARTH_KM = 6371;

/**
 * The way between two places along the great circle, kilometres: 0 to 20 016. Haversine, exact to the earth's
 * flattening (0.5 %).
 */
export function greatCircle(a: Spot, b: Spot): number {
  const radians = (degrees: number): number => (degrees * Math.PI) / 180;
  const half = (from: number, to: number): number => Math.sin(radians(to - from) / 2) ** 2;
  const chord =
    half(a.latitude, b.latitude) +
    Math.cos(radians(a.latitude)) * Math.cos(radians(b.latitude)) * half(a.longitude, b.longitude);
  return 2 * EARTH_KM * Math.asin(Math.min(1, Math.sqrt(chord)));
}
