/** Whether a server can take a stage: laws over servers of every kind, then the cases by name. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fitOf } from '../../src/fleet/fit.ts';
import type { KnownServer } from '../../src/fleet/models.ts';
import { anyNeeds, anyServers, known, NEEDS, servedFacts } from './servers.ts';

const anyEngine = fc.constantFrom('e1', 'e2', null);
const anyCase = fc
  .record({ servers: anyServers, needs: anyNeeds, engine: anyEngine })
  .map(({ servers, ...more }) => servers.map((server) => ({ server, ...more })));

const isAllowed = ({ backend }: KnownServer, model: string) =>
  backend.models.some((each) => each === '*' || each === model);

describe('every server', () => {
  test('that fits has the build, may serve it, has each needed feature, and states the engine', () => {
    fc.assert(
      fc.property(anyCase, (cases) => {
        for (const { server, needs, engine } of cases) {
          const { fit } = fitOf(server, needs, engine);
          if (!fit) continue;
          expect(isAllowed(server, needs.model)).toBe(true);
          const facts = server.list!.models.find(({ id, digest }) => id === needs.model && digest === needs.digest);
          expect(fit.engineClass).toBe(facts!.engine_class);
          expect(fit.features).toEqual(server.list!.contract.features);
          expect(fit.features).toEqual(expect.arrayContaining([...needs.features]));
          if (engine !== null) expect(fit.engineClass).toBe(engine);
        }
      }),
    );
  });

  test('that does not fit lacks what is said of it', () => {
    fc.assert(
      fc.property(anyCase, (cases) => {
        for (const { server, needs, engine } of cases) {
          const { why } = fitOf(server, needs, engine);
          if (why === null) continue;
          if (why === 'other_models') {
            const has = server.list!.models.some(({ id, digest }) => id === needs.model && digest === needs.digest);
            expect(isAllowed(server, needs.model) && has).toBe(false);
          } else if ('notKnown' in why) expect(server.list).toBe(null);
          else if ('lacks' in why) {
            expect(why.lacks.length).toBeGreaterThan(0);
            for (const feature of why.lacks) {
              expect(needs.features).toContain(feature);
              expect(server.list!.contract.features).not.toContain(feature);
            }
          } else {
            expect(engine).not.toBe(null);
            expect(why.engineClass).not.toBe(engine);
          }
        }
      }),
    );
  });

  test('that can take a stage of one engine class can take it where every class is let in', () => {
    fc.assert(
      fc.property(anyCase, (cases) => {
        for (const { server, needs, engine } of cases)
          if (fitOf(server, needs, engine).fit) expect(fitOf(server, needs, null).fit).not.toBe(null);
      }),
    );
  });
});

describe('unfit, with the reason, is a server', () => {
  const why = (server: KnownServer, needs = NEEDS, engine: string | null = null) => fitOf(server, needs, engine).why;

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
