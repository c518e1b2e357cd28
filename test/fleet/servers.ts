/** Fleets as data: backends, what their servers said, and all combinations that matter. */
import fc from 'fast-check';
import { CLOSED_FORM_FACTS } from '../../scripts/local/closed-form-model.ts';
import type { Needs } from '../../src/fleet/fit.ts';
import type { StandingServer } from '../../src/fleet/place.ts';
import type { ServedFacts } from '../../src/stage/contract.ts';

export const servedFacts = (more: Partial<ServedFacts> = {}): ServedFacts => ({
  ...CLOSED_FORM_FACTS,
  id: 'm',
  digest: 'd1',
  aliases: [],
  engine_class: 'e1',
  deterministic: true,
  ...more,
});

export const known = (
  id: string,
  models: readonly ServedFacts[] | null,
  {
    features = [],
    may = ['*'],
    region = '',
    weight = 1,
  }: { features?: readonly string[]; may?: readonly string[]; region?: string; weight?: number } = {},
): StandingServer => ({
  backend: { id, models: [...may], region, weight },
  list: models && { contract: { version: 2, features: [...features] }, models: [...models] },
  fault: models ? null : 'answered 502',
});

export const NEEDS: Needs = { model: 'm', digest: 'd1', features: [] };

const anyFeatures = fc.subarray(['account_tag', 'levitation', 'telepathy']);
const anyFacts: fc.Arbitrary<ServedFacts> = fc
  .record({
    id: fc.constantFrom('m', 'other'),
    digest: fc.constantFrom('d1', 'd2'),
    aliases: fc.subarray(['fast', 'other']),
    engine_class: fc.constantFrom('e1', 'e2', null),
    deterministic: fc.boolean(),
  })
  .map(servedFacts);

/** Up to six servers with ids of their own, in any order. */
export const anyServers: fc.Arbitrary<readonly StandingServer[]> = fc
  .array(
    fc.record({
      models: fc.option(fc.array(anyFacts, { maxLength: 3 })),
      features: anyFeatures,
      may: fc.constantFrom(['*'], ['m'], ['other'], []),
    }),
    { maxLength: 6 },
  )
  .map((servers) => servers.map(({ models, ...more }, i) => known(`s${i}`, models, more)));

export const anyNeeds: fc.Arbitrary<Needs> = fc.record({
  model: fc.constant('m'),
  digest: fc.constantFrom('d1', 'd2'),
  features: anyFeatures,
});
