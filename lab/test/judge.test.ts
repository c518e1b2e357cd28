/** The judge on scenes built by hand: every reason, and the laws it promises. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Expectation, holds, judge, type SeenObject } from '../eval/judge.ts';
import prompts from '../eval/prompts.json' with { type: 'json' };

const thing = (name: string | null, x = 0.5, y = 0.5, colour: string | null = null, side = 0.4): SeenObject => ({
  name,
  score: 0.9,
  colour,
  x,
  y,
  side,
});
const seen = (objects: readonly SeenObject[], background: readonly string[] = ['white']) => ({ objects, background });
const right = { correct: true, reason: 'as asked' };
const wrong = (reason: string) => ({ correct: false, reason });

describe('judge', () => {
  it('asks a single object to be there, whatever else is', () => {
    const fox: Expectation = { objects: [{ name: 'fox' }] };
    expect(judge(fox, seen([thing(null), thing('fox'), thing('apple')]))).toEqual(right);
    expect(judge(fox, seen([thing('cat'), thing(null)]))).toEqual(wrong('no fox'));
    expect(judge(fox, seen([]))).toEqual(wrong('no fox'));
  });

  it('asks for both of two objects', () => {
    const both: Expectation = { objects: [{ name: 'fox' }, { name: 'apple' }] };
    expect(judge(both, seen([thing('apple', 0.2), thing('fox', 0.7)]))).toEqual(right);
    expect(judge(both, seen([thing('fox'), thing('fox')]))).toEqual(wrong('no apple'));
  });

  it('counts exactly', () => {
    const three: Expectation = { objects: [{ name: 'balloon', count: 3 }] };
    const balloons = (n: number) => seen([thing(null), ...Array.from({ length: n }, () => thing('balloon'))]);
    expect(judge(three, balloons(3))).toEqual(right);
    expect(judge(three, balloons(2))).toEqual(wrong('2 of balloon, not 3'));
    expect(judge(three, balloons(4))).toEqual(wrong('4 of balloon, not 3'));
    expect(judge(three, balloons(0))).toEqual(wrong('no balloon'));
  });

  it('asks for the background alone, plain or from top to bottom', () => {
    expect(judge({ objects: [], background: ['blue'] }, seen([], ['blue']))).toEqual(right);
    expect(judge({ objects: [], background: ['blue'] }, seen([thing('fox')], ['blue', 'purple']))).toEqual(
      wrong('the background is blue to purple, not blue'),
    );
    expect(judge({ objects: [], background: ['red', 'blue'] }, seen([], ['blue', 'red']))).toEqual(
      wrong('the background is blue to red, not red to blue'),
    );
    expect(judge({ objects: [], background: ['gray'] }, seen([], ['other']))).toEqual(
      wrong('the background is other, not gray'),
    );
  });

  it('asks for the relation of the first to the second, by any pair of them', () => {
    const left: Expectation = { objects: [{ name: 'fox' }, { name: 'apple' }], relation: 'left' };
    expect(judge(left, seen([thing('fox', 0.25), thing('apple', 0.75)]))).toEqual(right);
    expect(judge(left, seen([thing('fox', 0.75), thing('apple', 0.25)]))).toEqual(
      wrong('the fox is not left of the apple'),
    );
    expect(judge(left, seen([thing('fox', 0.75), thing('apple', 0.5), thing('fox', 0.1)]))).toEqual(right);
    expect(judge({ ...left, relation: 'above' }, seen([thing('fox', 0.5, 0.75), thing('apple', 0.5, 0.25)]))).toEqual(
      wrong('the fox is not above the apple'),
    );
    expect(judge({ ...left, relation: 'above' }, seen([thing('fox', 0.5, 0.25), thing('apple', 0.5, 0.75)]))).toEqual(
      right,
    );
  });

  it('asks for each colour at its own object', () => {
    const colours: Expectation = {
      objects: [
        { name: 'apple', colour: 'blue' },
        { name: 'heart', colour: 'red' },
      ],
    };
    expect(judge(colours, seen([thing('apple', 0.2, 0.5, 'blue'), thing('heart', 0.7, 0.5, 'red')]))).toEqual(right);
    expect(judge(colours, seen([thing('apple', 0.2, 0.5, 'red'), thing('heart', 0.7, 0.5, 'blue')]))).toEqual(
      wrong('the apple is red, not blue'),
    );
    expect(judge(colours, seen([thing('apple', 0.2, 0.5, 'blue'), thing('heart', 0.7, 0.5)]))).toEqual(
      wrong('the heart is of no clear colour, not red'),
    );
    expect(judge(colours, seen([thing('apple', 0.2, 0.5, 'blue')]))).toEqual(wrong('no heart'));
  });

  it('refuses a relation that is not of two objects', () => {
    expect(() => judge({ objects: [{ name: 'fox' }], relation: 'left' }, seen([]))).toThrow(RangeError);
  });

  it('does not depend on the order in which things were seen', () => {
    const objects = [
      thing('fox', 0.2, 0.2, 'red'),
      thing('fox', 0.8, 0.2),
      thing('apple', 0.5, 0.8, 'blue'),
      thing(null, 0.1, 0.9),
    ];
    const cases: Expectation[] = [
      { objects: [{ name: 'fox', count: 2 }] },
      { objects: [{ name: 'fox', colour: 'red' }, { name: 'apple' }], relation: 'above' },
      { objects: [{ name: 'apple' }, { name: 'fox' }], relation: 'left' },
    ];
    fc.assert(
      fc.property(
        fc.shuffledSubarray(objects, { minLength: objects.length }),
        fc.constantFrom(...cases),
        (shuffled, each) => {
          expect(judge(each, seen(shuffled)).correct).toBe(judge(each, seen(objects)).correct);
        },
      ),
    );
  });
});

describe('holds', () => {
  const at = (x: number, y: number, side = 0.4) => ({ x, y, side });

  it('needs a tenth of both sides between the centres', () => {
    // 0.08 of margin, and half of the offset has to be left beyond it
    expect(holds('left', at(0.4, 0.5), at(0.57, 0.5))).toBe(true);
    expect(holds('left', at(0.4, 0.5), at(0.55, 0.5))).toBe(false);
  });

  it('takes a diagonal for both relations, and what is mostly beside for one', () => {
    expect(holds('left', at(0.2, 0.2), at(0.8, 0.8))).toBe(true);
    expect(holds('above', at(0.2, 0.2), at(0.8, 0.8))).toBe(true);
    expect(holds('left', at(0.2, 0.4), at(0.8, 0.6))).toBe(true);
    expect(holds('above', at(0.2, 0.4), at(0.8, 0.6))).toBe(false);
  });

  it('never holds of two things both ways, nor of one thing and itself', () => {
    const square = fc.record({
      x: fc.double({ min: 0, max: 2, noNaN: true }),
      y: fc.double({ min: 0, max: 2, noNaN: true }),
      side: fc.double({ min: 0.05, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(square, square, fc.constantFrom('left' as const, 'above' as const), (a, b, relation) => {
        expect(holds(relation, a, b) && holds(relation, b, a)).toBe(false);
        expect(holds(relation, a, a)).toBe(false);
      }),
    );
  });
});

/** One combination in ten, as lab/train/scenes.py keeps them out of training. */
const isHeldOut = (...parts: readonly (string | number)[]): boolean =>
  createHash('md5').update(parts.join('|')).digest()[0]! % 10 === 0;

describe('the prompts', () => {
  it('each mix a combination that training never shows; single objects are all shown', () => {
    for (const { id, task, names, expect: asked } of prompts as {
      id: string;
      task: string;
      names: string[];
      expect: Expectation;
    }[]) {
      const { objects, background = [] } = asked;
      const combinations = [
        ...(names.length === 2 ? [['pair', ...names.toSorted()]] : []),
        ...objects.flatMap(({ name, colour }) => (colour ? [['colour', name, colour]] : [])),
        ...objects.flatMap(({ name, count }) => (count ? [['count', name, count]] : [])),
        ...names.flatMap((name) => background.map((colour) => ['background', name, colour])),
      ];
      expect(
        combinations.some((parts) => isHeldOut(...parts)),
        id,
      ).toBe(task !== 'single');
    }
  });

  it('are 44 of each task, each with its own id, words and seed', () => {
    const tasks = Map.groupBy(prompts, ({ task }) => task);
    expect([...tasks.keys()]).toEqual(['single', 'two', 'counting', 'background', 'position', 'attribution']);
    for (const each of tasks.values()) expect(each).toHaveLength(44);
    for (const key of ['id', 'prompt', 'seed'] as const)
      expect(new Set(prompts.map((each) => each[key])).size).toBe(prompts.length);
  });

  it('are met by what they ask for and by nothing less', () => {
    for (const { expect: asked, task } of prompts as { task: string; expect: Expectation }[]) {
      const across = asked.relation !== 'above';
      const copies = asked.objects.flatMap(({ count = 1, ...each }) => Array<typeof each>(count).fill(each));
      const objects = copies.map(({ name, colour = null }, i) =>
        thing(name, across ? 0.2 + 0.5 * i : 0.5, across ? 0.5 : 0.2 + 0.5 * i, colour),
      );
      expect(judge(asked, seen(objects, asked.background ?? ['white']))).toEqual(right);
      expect(judge(asked, seen(objects.slice(1), task === 'background' ? ['other'] : ['white'])).correct).toBe(false);
    }
  });
});
