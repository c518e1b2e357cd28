/** Jobs that nobody could take: a model with random jobs and servers, then the bounds. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { makeHopeful } from '../../src/fleet/hopeful.ts';

const T = 1_700_000_000_000;

test('each job that waits is called once when its group is served, and nobody else is', () => {
  const job = fc.constantFrom('a', 'b', 'c', 'd');
  const step = fc.oneof(
    fc.record({ does: fc.constant('waits' as const), job, group: fc.constantFrom('g', 'h') }),
    fc.record({ does: fc.constant('leaves' as const), job }),
    fc.record({ does: fc.constant('served' as const), groups: fc.subarray(['g', 'h']) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const hopeful = makeHopeful();
      const waiting = new Map<string, string>();
      for (const each of steps) {
        if (each.does === 'waits') {
          hopeful.waits(each.job, each.group, T);
          waiting.set(each.job, each.group);
        } else if (each.does === 'leaves') {
          hopeful.leave(each.job);
          waiting.delete(each.job);
        } else {
          const due = [...waiting].filter(([, group]) => each.groups.includes(group)).map(([name]) => name);
          expect([...hopeful.take((group) => each.groups.includes(group))].sort()).toEqual(due.sort());
          for (const name of due) waiting.delete(name);
        }
        expect([...hopeful.groups(T)].sort()).toEqual([...new Set(waiting.values())].sort());
      }
    }),
  );
});

test('who has not asked for eleven minutes is forgotten, and of too many who asked longest ago', () => {
  const hopeful = makeHopeful(2);
  hopeful.waits('a', 'g', T);
  hopeful.waits('b', 'h', T + 1000);
  expect(hopeful.groups(T + 660_000)).toEqual(['h']);
  hopeful.waits('c', 'g', T + 2000);
  hopeful.waits('b', 'h', T + 3000);
  hopeful.waits('d', 'i', T + 3000);
  expect(hopeful.take(() => true)).toEqual(['b', 'd']);
});
