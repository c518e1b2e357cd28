/** Which models a fleet serves. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fitOf } from '../../src/fleet/fit.ts';
import { isAlias, isFeatureServed, modelsOf, resolveModel, servedBy } from '../../src/fleet/models.ts';
import { anyServers, known, servedFacts } from './servers.ts';

describe('the models of a fleet', () => {
  test('have each id once, say nothing of engines, and each can be asked for', () => {
    fc.assert(
      fc.property(anyServers, (servers) => {
        const models = modelsOf(servers);
        expect(new Set(models.map(({ id }) => id)).size).toBe(models.length);
        for (const facts of models) {
          expect(facts).not.toHaveProperty('engine_class');
          expect(facts).not.toHaveProperty('deterministic');
          const needs = { model: facts.id, digest: facts.digest, features: [] };
          expect(servers.some((server) => fitOf(server, needs, null).fit !== null)).toBe(true);
        }
      }),
    );
  });

  test('leave out no id that a server has and may be asked for', () => {
    fc.assert(
      fc.property(anyServers, (servers) => {
        const ids = new Set(modelsOf(servers).map(({ id }) => id));
        for (const server of servers)
          for (const { id, digest } of server.list?.models ?? [])
            if (servedBy(server, { model: id, digest })) expect(ids).toContain(id);
      }),
    );
  });

  test('come in the order of the servers; of two builds under one name the first server has the word', () => {
    const servers = [
      known('down', null),
      known('a', [servedFacts({ id: 'x' }), servedFacts({ digest: 'd2' })]),
      known('b', [servedFacts({ digest: 'd1' }), servedFacts({ id: 'y' })], { may: ['m', 'z'] }),
    ];
    expect(modelsOf(servers).map(({ id, digest }) => [id, digest])).toEqual([
      ['x', 'd1'],
      ['m', 'd2'],
    ]);
    expect(servedBy(servers[1]!, { model: 'm', digest: 'd1' })).toBe(null);
    expect(servedBy(servers[2]!, { model: 'm', digest: 'd1' })?.id).toBe('m');
    expect(servedBy(servers[2]!, { model: 'y', digest: 'd1' })).toBe(null);
  });
});

describe('a model', () => {
  const models = modelsOf([
    known('a', [servedFacts({ id: 'x', aliases: ['m', 'fast'] }), servedFacts({ id: 'm', aliases: ['fast'] })]),
  ]);
  const named = (name?: string) => resolveModel(models, name)?.id;

  test('is found by its id before any alias, by alias in order, and is the first where none is named', () => {
    expect(named('m')).toBe('m');
    expect(named('fast')).toBe('x');
    expect(named()).toBe('x');
    expect(named('nobody')).toBe(undefined);
    expect(resolveModel([], undefined)).toBe(null);
  });
});

test('a name is an alias where it means a model and is the id of none', () => {
  const models = modelsOf([
    known('a', [servedFacts({ id: 'x', aliases: ['y', 'dall-e-3'] }), servedFacts({ id: 'y' })]),
  ]);
  expect(['dall-e-3', 'x', 'y', 'z', undefined].map((name) => isAlias(models, name))).toEqual([
    true,
    false,
    false,
    false,
    false,
  ]);
});

test('a feature is served by a server of that build of the model alone', () => {
  const servers = [
    known('down', null),
    known('a', [servedFacts({ id: 'x', digest: 'd1' })], { features: ['enlarge'] }),
    known('b', [servedFacts({ id: 'x', digest: 'd2' }), servedFacts({ id: 'y', digest: 'd1' })]),
  ];
  const isServed = (id: string, digest: string) => isFeatureServed(servers, { id, digest }, 'enlarge');
  expect([isServed('x', 'd1'), isServed('x', 'd2'), isServed('y', 'd1'), isServed('z', 'd1')]).toEqual([
    true,
    false,
    false,
    false,
  ]);
});
