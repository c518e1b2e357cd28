import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normalQuantile, normalsAtPlaces, standardNormals } from '../../src/numerics/normal.ts';
import { philox } from '../../src/numerics/philox.ts';

const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });

describe('Philox 4x32-10', () => {
  it.each([
    [[0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [[0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], 'd16cfe09 94fdcceb 5001e420 24126ea1'],
  ] as const)("gives Random123's words for counter %j and key %j", (counter, key, words) => {
    const [[c0, c1, c2, c3], [k0, k1]] = [counter, key];
    const out = philox(new Uint32Array(4), c0, c1, c2, c3, k0, k1);
    expect([...out].map((value) => value.toString(16).padStart(8, '0')).join(' ')).toBe(words);
  });

  it('agrees with the same rounds in big integers, whatever the counter and key', () => {
    const slow = (counter: number[], key: number[]) => {
      let [x0, x1, x2, x3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
      let [k0, k1] = key.map(BigInt) as [bigint, bigint];
      for (let round = 0; round < 10; round++) {
        const [p0, p1] = [0xd2511f53n * x0, 0xcd9e8d57n * x2];
        [x0, x1, x2, x3] = [(p1 >> 32n) ^ x1 ^ k0, p1 & 0xffffffffn, (p0 >> 32n) ^ x3 ^ k1, p0 & 0xffffffffn];
        [k0, k1] = [(k0 + 0x9e3779b9n) & 0xffffffffn, (k1 + 0xbb67ae85n) & 0xffffffffn];
      }
      return [x0, x1, x2, x3].map(Number);
    };
    fc.assert(
      fc.property(word, word, word, word, word, word, (a, b, c, d, k, l) => {
        const fast = [...philox(new Uint32Array(4), a, b, c, d, k, l)];
        return slow([a, b, c, d], [k, l]).every((value, i) => value === fast[i]);
      }),
      { seed: 1 },
    );
  });
});

describe('normal quantile', () => {
  it.each([
    [0.5, 0],
    [0.6, 0.2533471031357997],
    [0.75, 0.6744897501960817],
    [0.9, 1.2815515655446004],
    [0.975, 1.959963984540054],
    [0.001, -3.090232306167813],
    [1e-10, -6.361340902404056],
    [1e-20, -9.262340089798409],
  ])('of %d is %d, in the middle, the tail and the far tail', (p, x) => {
    expect(Math.abs(normalQuantile(p) - x)).toBeLessThan(2e-14);
  });

  it('rises, and is odd around one half', () => {
    const p = fc.double({ min: 1e-9, max: 0.5, noNaN: true });
    fc.assert(
      fc.property(p, (a) => Math.abs(normalQuantile(a) + normalQuantile(1 - a)) < 1e-6),
      { seed: 2 },
    );
    fc.assert(
      fc.property(p, p, (a, b) => a >= b || normalQuantile(a) <= normalQuantile(b)),
      { seed: 3 },
    );
  });
});

describe('standard normals', () => {
  it('do not depend on how a stream is split into calls', () => {
    fc.assert(
      fc.property(word, word, fc.nat(200), fc.nat(50), fc.nat(50), (seed, stream, offset, first, second) => {
        const whole = standardNormals({ seed, stream, offset, count: first + second });
        const parts = [
          ...standardNormals({ seed, stream, offset, count: first }),
          ...standardNormals({ seed, stream, offset: offset + first, count: second }),
        ];
        return whole.length === parts.length && parts.every((value, i) => value === whole[i]);
      }),
      { seed: 4 },
    );
  });

  it('keep counting past 2^32 values without repeating', () => {
    const far = standardNormals({ seed: 1, stream: 0, count: 8, offset: 2 ** 32 - 4 });
    expect(far.slice(4)).toEqual(standardNormals({ seed: 1, stream: 0, count: 4, offset: 2 ** 32 }));
    expect(far.slice(4)).not.toEqual(standardNormals({ seed: 1, stream: 0, count: 4 }));
  });

  it('are pinned: a change of these eight values changes every picture ever made', () => {
    expect([...standardNormals({ seed: 7, stream: 2, count: 8 })]).toMatchInlineSnapshot(`
      [
        -0.363669753074646,
        1.8561395406723022,
        1.3278506994247437,
        -0.34084126353263855,
        1.883478045463562,
        -1.089001178741455,
        -1.210298776626587,
        -1.9127817153930664,
      ]
    `);
  });

  it('have the moments, tail and independence of normals', () => {
    const count = 200_000;
    const a = standardNormals({ seed: 42, stream: 0, count });
    const mean = (f: (i: number) => number) => a.reduce((sum, _, i) => sum + f(i), 0) / count;
    // bounds are five standard errors: the k-th moment's is sqrt(var(x^k) / count)
    const error = 5 / Math.sqrt(count);
    expect(Math.abs(mean((i) => a[i]!))).toBeLessThan(error);
    expect(Math.abs(mean((i) => a[i]! ** 2) - 1)).toBeLessThan(error * Math.sqrt(2));
    expect(Math.abs(mean((i) => a[i]! ** 3))).toBeLessThan(error * Math.sqrt(15));
    expect(Math.abs(mean((i) => a[i]! ** 4) - 3)).toBeLessThan(error * Math.sqrt(96));
    expect(Math.abs(mean((i) => Number(Math.abs(a[i]!) > 1.959963984540054)) - 0.05)).toBeLessThan(
      error * Math.sqrt(0.05),
    );
    for (const other of [
      standardNormals({ seed: 42, stream: 1, count }),
      standardNormals({ seed: 43, stream: 0, count }),
      standardNormals({ seed: 42, stream: 0, count, offset: 1 }),
    ]) {
      expect(Math.abs(mean((i) => a[i]! * other[i]!))).toBeLessThan(error);
    }
  });

  it('no values is an empty array', () => {
    expect(standardNormals({ seed: 0, stream: 0, count: 0 })).toEqual(new Float32Array(0));
  });

  it('refuse a seed, stream, count or offset that is not a whole number in range', () => {
    const good = { seed: 0, stream: 0, count: 1 };
    expect(() => standardNormals({ ...good, seed: 2 ** 32 })).toThrow(
      'seed is 4294967296; expected a whole number from 0 to 4294967295',
    );
    expect(() => standardNormals({ ...good, seed: Number.NaN })).toThrow('seed is NaN');
    expect(() => standardNormals({ ...good, stream: -1 })).toThrow('stream is -1');
    expect(() => standardNormals({ ...good, count: 1.5 })).toThrow('count is 1.5');
    expect(() => standardNormals({ ...good, offset: 2 ** 34 })).toThrow('count is 1');
    expect(() => standardNormals({ ...good, offset: -1 })).toThrow('offset is -1');
  });
});

describe('standard normals by place', () => {
  const place = fc.tuple(fc.nat(200), fc.nat(200));

  it('belong to their place: they do not depend on which other places are asked for, or in what order', () => {
    fc.assert(
      fc.property(
        word,
        word,
        fc.array(place, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 9 }),
        (seed, stream, places, width) => {
          const all = normalsAtPlaces({ seed, stream, places: Uint32Array.from(places.flat()), width });
          return places.every((one, n) => {
            const alone = normalsAtPlaces({ seed, stream, places: Uint32Array.from(one), width });
            return alone.length === width && alone.every((value, i) => value === all[n * width + i]);
          });
        },
      ),
      { seed: 8 },
    );
  });

  it('are white: mean 0, variance 1, no covariance between neighbours, slots and streams', () => {
    const side = 64;
    const width = 16;
    const places = Uint32Array.from({ length: 2 * side * side }, (_, i) =>
      i % 2 === 0 ? Math.floor(i / 2 / side) : Math.floor(i / 2) % side,
    );
    const values = normalsAtPlaces({ seed: 42, stream: 1, places, width });
    const count = values.length;
    const product = (other: Float32Array) =>
      values.subarray(0, other.length).reduce((sum, x, i) => sum + x * other[i]!, 0) / other.length;
    const error = 5 / Math.sqrt(count);
    expect(Math.abs(values.reduce((sum, x) => sum + x, 0) / count)).toBeLessThan(error);
    expect(Math.abs(product(values) - 1)).toBeLessThan(error * Math.SQRT2);
    for (const shift of [1, 2, width, side * width])
      expect(Math.abs(product(values.subarray(shift)))).toBeLessThan(5 / Math.sqrt(count - shift));
    for (const other of [
      { seed: 42, stream: 2 },
      { seed: 43, stream: 1 },
    ])
      expect(Math.abs(product(normalsAtPlaces({ ...other, places, width })))).toBeLessThan(error);
  });

  it('are pinned: a change of these four values changes every staged picture', () => {
    expect([...normalsAtPlaces({ seed: 7, stream: 2, places: Uint32Array.of(3, 1), width: 4 })]).toMatchInlineSnapshot(`
      [
        0.9728719592094421,
        0.3621448576450348,
        -0.6981233954429626,
        1.3071762323379517,
      ]
    `);
  });

  it('refuse a seed, a stream or a width out of range', () => {
    const good = { seed: 1, stream: 1, places: Uint32Array.of(0, 0), width: 4 };
    expect(() => normalsAtPlaces({ ...good, seed: -1 })).toThrow('seed is -1');
    expect(() => normalsAtPlaces({ ...good, stream: 2 ** 32 })).toThrow('stream is 4294967296');
    expect(() => normalsAtPlaces({ ...good, width: 0 })).toThrow('width is 0');
  });
});
