/** Which server a stage goes to: laws over fleets of every kind, then the cases by name. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Candidate, choose, type LastAttempt } from '../../src/fleet/choose.ts';
import { anyNeeds, anyServers, known, NEEDS, servedFacts } from './servers.ts';

const anyEngine = fc.constantFrom('e1', 'e2', null);
const anyLast = fc.option(
  fc.record({ backend: fc.constantFrom('s0', 's1', 's2', 's5', 'gone'), hasFailed: fc.boolean() }),
);
const anyChoice = fc.record({ servers: anyServers, needs: anyNeeds, engine: anyEngine, last: anyLast });

describe('every server', () => {
  test('is a candidate or unfit, once', () => {
    fc.assert(
      fc.property(anyChoice, (input) => {
        const { candidates, unfit } = choose(input);
        const all = [...candidates, ...unfit].map(({ id }) => id).toSorted();
        expect(all).toEqual(input.servers.map(({ backend }) => backend.id));
      }),
    );
  });

  test('that is a candidate has the build, may serve it, has each needed feature, and states the engine', () => {
    fc.assert(
      fc.property(anyChoice, (input) => {
        for (const { id, engineClass, features } of choose(input).candidates) {
          const { backend, list } = input.servers.find((server) => server.backend.id === id)!;
          expect(backend.models.some((model) => model === '*' || model === input.needs.model)).toBe(true);
          const facts = list!.models.find(
            (each) => each.id === input.needs.model && each.digest === input.needs.digest,
          );
          expect(engineClass).toBe(facts!.engine_class);
          expect(features).toEqual(list!.contract.features);
          expect(features).toEqual(expect.arrayContaining([...input.needs.features]));
          if (input.engine !== null) expect(engineClass).toBe(input.engine);
        }
      }),
    );
  });

  test('that is unfit lacks what is said of it', () => {
    fc.assert(
      fc.property(anyChoice, (input) => {
        for (const { id, why } of choose(input).unfit) {
          const { backend, list } = input.servers.find((server) => server.backend.id === id)!;
          if (why === 'other_models') {
            const isAllowed = backend.models.some((model) => model === '*' || model === input.needs.model);
            const hasBuild = list!.models.some(
              (each) => each.id === input.needs.model && each.digest === input.needs.digest,
            );
            expect(isAllowed && hasBuild).toBe(false);
          } else if ('notKnown' in why) expect(list).toBe(null);
          else if ('lacks' in why) {
            expect(why.lacks.length).toBeGreaterThan(0);
            for (const feature of why.lacks) {
              expect(input.needs.features).toContain(feature);
              expect(list!.contract.features).not.toContain(feature);
            }
          } else {
            expect(input.engine).not.toBe(null);
            expect(why.engineClass).not.toBe(input.engine);
          }
        }
      }),
    );
  });

  test('that can take a stage of one engine class can take it where every class is let in', () => {
    fc.assert(
      fc.property(anyChoice, (input) => {
        const open = choose({ ...input, engine: null }).candidates.map(({ id }) => id);
        for (const { id } of choose(input).candidates) expect(open).toContain(id);
      }),
    );
  });
});

describe('the order', () => {
  const servers = ['a', 'b', 'c', 'd'].map((id) => known(id, [servedFacts()]));
  const order = (last: { backend: string; hasFailed: boolean } | null, of = servers) =>
    choose({ servers: of, needs: NEEDS, engine: null, last })
      .candidates.map(({ id }) => id)
      .join('');

  test('is that of the configuration at the start', () => {
    expect(order(null)).toBe('abcd');
  });

  test('begins with the last server while it works', () => {
    expect(order({ backend: 'c', hasFailed: false })).toBe('cdab');
  });

  test('begins behind the last server once it has failed, which comes last', () => {
    expect(order({ backend: 'a', hasFailed: true })).toBe('bcda');
    expect(order({ backend: 'd', hasFailed: true })).toBe('abcd');
  });

  test('is that of the configuration where the last server is not in it', () => {
    for (const hasFailed of [true, false]) expect(order({ backend: 'gone', hasFailed })).toBe('abcd');
  });

  test('leaves out who cannot take it, wherever it begins', () => {
    const some = servers.map((server) => (server.backend.id === 'b' ? known('b', null) : server));
    expect(order({ backend: 'a', hasFailed: true }, some)).toBe('cda');
    expect(order({ backend: 'b', hasFailed: false }, some)).toBe('cda');
  });

  test('reaches every candidate within as many failures as there are servers', () => {
    fc.assert(
      fc.property(anyServers, (of) => {
        const tried = new Set<string>();
        let last: LastAttempt | null = null;
        const { candidates } = choose({ servers: of, needs: NEEDS, engine: null, last });
        for (let i = 0; i < of.length; i++) {
          const best: Candidate | undefined = choose({ servers: of, needs: NEEDS, engine: null, last }).candidates[0];
          if (!best) break;
          tried.add(best.id);
          last = { backend: best.id, hasFailed: true };
        }
        expect([...tried].toSorted()).toEqual(candidates.map(({ id }) => id).toSorted());
      }),
    );
  });
});

describe('unfit, with the reason, is a server', () => {
  const why = (server: Parameters<typeof choose>[0]['servers'][number], needs = NEEDS, engine: string | null = null) =>
    choose({ servers: [server], needs, engine, last: null }).unfit[0]?.why;

  test('of which nothing is known', () => {
    expect(why(known('a', null))).toEqual({ notKnown: 'answered 502' });
  });

  test('with another build of the model, or that may not be asked for it', () => {
    expect(why(known('a', [servedFacts({ digest: 'd2' })]))).toBe('other_models');
    expect(why(known('a', [servedFacts()], { may: ['x'] }))).toBe('other_models');
    expect(why(known('a', []))).toBe('other_models');
  });

  test('without a needed feature', () => {
    const needs = { ...NEEDS, features: ['account_tag', 'levitation'] };
    expect(why(known('a', [servedFacts()], { features: ['levitation'] }), needs)).toEqual({ lacks: ['account_tag'] });
  });

  test('of another engine class, or of one that it does not state', () => {
    expect(why(known('a', [servedFacts()]), NEEDS, 'e2')).toEqual({ engineClass: 'e1' });
    expect(why(known('a', [servedFacts({ engine_class: null })]), NEEDS, 'e2')).toEqual({ engineClass: null });
  });
});
