/** Where jobs run. Distances are checked against published ones; the order against its laws, over random fleets. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { JURISDICTIONS } from '../../src/account/place.ts';
import { greatCircle, type Placed, place, type Spot, type StandingServer, serversIn } from '../../src/fleet/place.ts';
import type { Region } from '../../src/fleet/regions.ts';
import { known, NEEDS, servedFacts } from './servers.ts';

const region = (id: string, latitude: number, longitude: number, more: Partial<Region> = {}): Region => ({
  id,
  latitude,
  longitude,
  hint: null,
  jurisdiction: null,
  ...more,
});
const PARIS = region('paris', 48.8566, 2.3522, { hint: 'weur', jurisdiction: 'eu' });
const WARSAW = region('warsaw', 52.2297, 21.0122, { hint: 'eeur', jurisdiction: 'eu' });
const VIRGINIA = region('virginia', 38.95, -77.45, { hint: 'enam', jurisdiction: 'us' });
const SYDNEY = region('sydney', -33.8688, 151.2093, { hint: 'oc' });
const REGIONS = [PARIS, WARSAW, VIRGINIA, SYDNEY];
const LONDON: Spot = { latitude: 51.5074, longitude: -0.1278 };
const AUCKLAND: Spot = { latitude: -36.85, longitude: 174.76 };

/** A server in a region that has the model, or what else is said of it. */
const server = (at: string, more: Partial<Parameters<typeof known>[2] & object> = {}): StandingServer =>
  known(`gpu-${at}`, [servedFacts()], { region: at, ...more });
const away = (at: string): StandingServer => ({ ...server(at), fault: 'answered 502' });
const everywhere = REGIONS.map(({ id }) => server(id));
const placed = (more: Partial<Parameters<typeof place>[0]> = {}): Placed =>
  place({ caller: LONDON, regions: REGIONS, servers: everywhere, needs: NEEDS, jurisdiction: null, ...more });

test('the way between two places is that of the atlas, and the same back', () => {
  const cities: readonly (readonly [Spot, Spot, number])[] = [
    [LONDON, PARIS, 344],
    [LONDON, VIRGINIA, 5916],
    [PARIS, SYDNEY, 16_960],
    [AUCKLAND, SYDNEY, 2156],
    // across the date line, and from pole to pole
    [{ latitude: 0, longitude: 179 }, { latitude: 0, longitude: -179 }, 222],
    [{ latitude: 90, longitude: 0 }, { latitude: -90, longitude: 0 }, 20_015],
    [LONDON, LONDON, 0],
  ];
  for (const [a, b, km] of cities) {
    expect(Math.abs(greatCircle(a, b) - km)).toBeLessThan(Math.max(1, km * 0.005));
    expect(greatCircle(b, a)).toBeCloseTo(greatCircle(a, b), 6);
  }
});

describe('a job', () => {
  test('runs in the region that is nearest to its caller, and is made there', () => {
    expect(placed()).toMatchObject({ regions: ['paris', 'warsaw', 'virginia', 'sydney'], hint: 'weur' });
    expect(placed({ caller: AUCKLAND })).toMatchObject({
      regions: ['sydney', 'virginia', 'warsaw', 'paris'],
      hint: 'oc',
    });
  });

  test('runs in the order of the configuration where nobody says where its caller is', () => {
    expect(placed({ caller: null }).regions).toEqual(['paris', 'warsaw', 'virginia', 'sydney']);
  });

  test('runs where somebody answers, wherever that is, and else waits for the nearest', () => {
    const servers = [
      away('paris'),
      server('warsaw', { weight: 0 }),
      server('sydney'),
      known('x', null, { region: 'virginia' }),
    ];
    expect(placed({ servers })).toEqual({
      regions: ['sydney', 'paris', 'warsaw', 'virginia'],
      hint: 'oc',
      reasons: [
        { region: 'sydney', standing: 'well', km: 16_994 },
        { region: 'paris', standing: 'away', km: 344 },
        { region: 'warsaw', standing: 'drained', km: 1449 },
        { region: 'virginia', standing: 'not_known', km: 5922 },
      ],
    });
  });

  test('does not run where its model is not, or is another build', () => {
    const servers = [
      known('a', [servedFacts({ digest: 'd2' })], { region: 'paris' }),
      known('b', null, { region: 'warsaw', may: ['other'] }),
      server('virginia'),
    ];
    expect(placed({ servers })).toMatchObject({
      regions: ['virginia'],
      reasons: [
        { region: 'virginia', standing: 'well' },
        { region: 'paris', standing: 'no_server' },
        { region: 'warsaw', standing: 'no_server' },
        { region: 'sydney', standing: 'no_server' },
      ],
    });
  });

  test('waits for a server that lacks something, where none has it', () => {
    const needs = { ...NEEDS, features: ['levitation'] };
    const able = server('virginia', { features: ['levitation'] });
    expect(placed({ needs, servers: [server('paris'), able] }).regions).toEqual(['virginia', 'paris']);
    expect(placed({ needs, servers: [server('paris')] })).toMatchObject({
      regions: ['paris'],
      reasons: [{ standing: 'lacking' }, {}, {}, {}],
    });
  });

  test('of an account of a jurisdiction stays there, or nowhere', () => {
    expect(placed({ caller: AUCKLAND, jurisdiction: 'eu' }).regions).toEqual(['warsaw', 'paris']);
    expect(placed({ jurisdiction: 'us' })).toMatchObject({ regions: ['virginia'], hint: 'enam' });
    expect(placed({ jurisdiction: 'fedramp' })).toMatchObject({ regions: [], hint: null });
    expect(placed({ jurisdiction: 'eu', servers: [server('virginia'), server('sydney')] }).regions).toEqual([]);
    // a name alone is no law
    expect(placed({ regions: [], jurisdiction: 'eu', servers: [server('eu')] }).regions).toEqual([]);
  });

  test('has the names that its servers give as regions where the deployment names none', () => {
    const servers = [server('b'), away('a'), server('a'), away('')];
    expect(placed({ regions: [], servers })).toMatchObject({ regions: ['b', 'a', ''], hint: null });
    expect(placed({ regions: [], servers: [server('')] }).regions).toEqual(['']);
  });
});

test('servers outside a jurisdiction are none for its accounts', () => {
  const ids = (jurisdiction: Parameters<typeof serversIn>[2]) =>
    serversIn(everywhere, REGIONS, jurisdiction).map(({ backend }) => backend.region);
  expect(ids(null)).toEqual(['paris', 'warsaw', 'virginia', 'sydney']);
  expect(ids('eu')).toEqual(['paris', 'warsaw']);
  expect(ids('fedramp')).toEqual([]);
});

describe('whatever the fleet', () => {
  const spot = fc.record({
    latitude: fc.double({ min: -90, max: 90, noNaN: true }),
    longitude: fc.double({ min: -180, max: 180, noNaN: true }),
  });
  const anyRegions = fc
    .array(fc.tuple(spot, fc.constantFrom(null, ...JURISDICTIONS)), { minLength: 1, maxLength: 6 })
    .map((all) =>
      all.map(([{ latitude, longitude }, jurisdiction], i) => region(`r${i}`, latitude, longitude, { jurisdiction })),
    );
  const anyServers = fc
    .array(
      fc.record({
        at: fc.constantFrom('r0', 'r1', 'r2', 'r3', 'r4', 'r5'),
        digest: fc.constantFrom('d1', 'd2'),
        isThere: fc.boolean(),
        isKnown: fc.boolean(),
        weight: fc.constantFrom(0, 1),
      }),
      { maxLength: 10 },
    )
    .map((all) =>
      all.map(({ at, digest, isThere, isKnown, weight }, i): StandingServer => {
        const one = known(`s${i}`, isKnown ? [servedFacts({ digest })] : null, { region: at, weight });
        return { ...one, fault: isThere ? null : 'answered 502' };
      }),
    );

  test('healthy regions come first, distances never fall among equals, and nothing leaves the jurisdiction', () => {
    fc.assert(
      fc.property(
        fc.option(spot),
        anyRegions,
        anyServers,
        fc.constantFrom(null, ...JURISDICTIONS),
        (caller, regions, servers, jurisdiction) => {
          const found = place({ caller, regions, servers, needs: NEEDS, jurisdiction });
          expect(found.reasons.map(({ region: id }) => id).toSorted()).toEqual(regions.map(({ id }) => id).toSorted());
          const standings = found.reasons.map(({ standing }) => standing);
          expect(standings.lastIndexOf('well')).toBe(standings.filter((one) => one === 'well').length - 1);
          for (const [i, { standing, km }] of found.reasons.entries()) {
            const next = found.reasons[i + 1];
            if (next?.standing === standing && km !== null) expect(next.km).toBeGreaterThanOrEqual(km);
          }
          for (const id of found.regions) {
            if (jurisdiction !== null) expect(regions.find((one) => one.id === id)?.jurisdiction).toBe(jurisdiction);
            const there = servers.filter(({ backend }) => backend.region === id);
            expect(there.some(({ list }) => list === null || list.models.some(({ digest }) => digest === 'd1'))).toBe(
              true,
            );
          }
        },
      ),
    );
  });
});
