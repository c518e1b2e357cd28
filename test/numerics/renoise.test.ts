import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { standardNormals } from '../../src/numerics/normal.ts';
import { correlatedNoise, transition, transitionWithNoise } from '../../src/numerics/renoise.ts';
import { renoiseCoefficients } from '../../src/numerics/schedule.ts';
import { rankTokens, selectStillLow } from '../../src/numerics/select.ts';
import { selectedCounts, tokenCounts } from '../../src/numerics/token-counts.ts';
import { gridIds, initialTokens, type Tokens, tokenWidth } from '../../src/numerics/tokens.ts';
import { upsampleTokens } from '../../src/numerics/upsample.ts';

const z = fc.double({ min: 2, max: 100, noNaN: true });
const everyToken = (count: number) => Uint32Array.from({ length: count }, (_, n) => n);

describe('correlated noise', () => {
  it.each([
    ['latent', [0, 1, 2, 3]],
    ['token', [0, 4, 8, 12]],
  ] as const)('in %s mode is a linear map whose square is I - cJ over the group %j', (mode, group) => {
    fc.assert(
      fc.property(z, (Z) => {
        const correlation = 1 / Z ** 2;
        const columns = group.map((member) => {
          const unit = new Float32Array(16);
          unit[member] = 1;
          return correlatedNoise(unit, { width: 4, mode, correlation });
        });
        // columns of A: A Aᵀ = I - cJ inside the group and nothing outside it
        return [...everyToken(16)].every((i) =>
          [...everyToken(16)].every((j) => {
            const product = columns.reduce((sum, column) => sum + column[i]! * column[j]!, 0);
            const isInside = (index: number) => (group as readonly number[]).includes(index);
            const expected = isInside(i) && isInside(j) ? Number(i === j) - correlation : 0;
            return Math.abs(product - expected) < 1e-6;
          }),
        );
      }),
      { seed: 1 },
    );
  });

  it('leaves white noise alone at c = 0, takes the mean out of each group at c = 1/4, and fills its argument', () => {
    const white = standardNormals({ seed: 1, stream: 1, count: 32 });
    expect(correlatedNoise(white.slice(), { width: 8, mode: 'latent', correlation: 0 })).toEqual(white);
    const coloured = correlatedNoise(white, { width: 8, mode: 'latent', correlation: 0.25 });
    expect(coloured).toBe(white);
    for (let i = 0; i < 32; i += 4)
      expect(Math.abs(coloured.subarray(i, i + 4).reduce((sum, value) => sum + value))).toBeLessThan(1e-6);
  });

  it('refuses a correlation outside [0, 1/4] and sizes that do not make whole groups', () => {
    expect(() => correlatedNoise(new Float32Array(16), { width: 4, mode: 'latent', correlation: 0.26 })).toThrow(
      'correlation is 0.26; expected a number from 0 to 0.25',
    );
    expect(() => correlatedNoise(new Float32Array(16), { width: 4, mode: 'latent', correlation: Number.NaN })).toThrow(
      'correlation is NaN',
    );
    expect(() => correlatedNoise(new Float32Array(15), { width: 4, mode: 'token', correlation: 0.1 })).toThrow(
      'white has 15 entries',
    );
    expect(() => correlatedNoise(new Float32Array(24), { width: 6, mode: 'token', correlation: 0.1 })).toThrow(
      'tokens of 6 values',
    );
    expect(() => correlatedNoise(new Float32Array(0), { width: 0, mode: 'token', correlation: 0.1 })).toThrow(
      RangeError,
    );
  });
});

describe('a boundary', () => {
  const [rows, cols, values] = [32, 32, 16];
  const [end, Z] = [0.3, 4];
  const renoise = renoiseCoefficients(end, Z);

  /** Tokens at t = end whose clean latents are all 0.7: end * 0.7 + (1 - end) * noise. */
  function tokensAtEnd() {
    const tokens = initialTokens({ rows, cols, values, seed: 5, scale: 2 });
    return { ...tokens, latents: tokens.latents.map((noise) => end * 0.7 + (1 - end) * noise) };
  }

  it.each([
    ['latent', 'place'],
    ['token', 'place'],
    ['latent', 'list'],
    ['token', 'list'],
  ] as const)(
    'in %s mode with noise by %s hands over mean s * clean and white noise of variance b², upsampled or not',
    (mode, order) => {
      const tokens = tokensAtEnd();
      const chosen = everyToken(512);
      const { latents, scale } = transition({
        tokens,
        chosen,
        mode,
        renoise,
        seed: 11,
        stream: 1,
        order,
        referenceVariance: false,
        isLast: false,
      });
      expect(scale.length).toBe(512 + 4 * 512);
      const residual = Float64Array.from(latents, (value) => (value - renoise.start * 0.7) / renoise.noise);
      const kept = residual.subarray(0, 512 * values);
      const fresh = residual.subarray(512 * values);
      const error = (count: number) => 5 / Math.sqrt(count);
      for (const part of [kept, fresh]) {
        const mean = part.reduce((sum, value) => sum + value) / part.length;
        const variance = part.reduce((sum, value) => sum + value ** 2, 0) / part.length;
        expect(Math.abs(mean)).toBeLessThan(error(part.length));
        expect(Math.abs(variance - 1)).toBeLessThan(error(part.length) * Math.sqrt(2));
      }
      // covariance between any two of the four values that upsampling made equal
      const at = (group: number, member: number) =>
        mode === 'latent'
          ? fresh[4 * group + member]!
          : fresh[(4 * Math.floor(group / values) + member) * values + (group % values)]!;
      const numGroups = fresh.length / 4;
      for (let i = 0; i < 4; i++) {
        for (let j = 0; j < i; j++) {
          let covariance = 0;
          for (let group = 0; group < numGroups; group++) covariance += (at(group, i) * at(group, j)) / numGroups;
          expect(Math.abs(covariance)).toBeLessThan(error(numGroups));
        }
      }
    },
  );

  it('with the reference variance leaves untouched values 1 + c times the right variance, and the upsampled ones as they were', () => {
    const boundary = {
      tokens: tokensAtEnd(),
      chosen: everyToken(100),
      mode: 'latent' as const,
      renoise,
      isLast: false,
    };
    const count = (1024 + 300) * values;
    const ours = transitionWithNoise(
      { ...boundary, referenceVariance: false },
      standardNormals({ seed: 3, stream: 1, count }),
    ).latents;
    const theirs = transitionWithNoise(
      { ...boundary, referenceVariance: true },
      standardNormals({ seed: 3, stream: 1, count }),
    ).latents;
    const numKept = 924 * values;
    expect(theirs.subarray(numKept)).toEqual(ours.subarray(numKept));
    const variance =
      theirs
        .subarray(0, numKept)
        .reduce((sum, value) => sum + ((value - renoise.start * 0.7) / renoise.noise) ** 2, 0) / numKept;
    expect(Math.abs(variance - (1 + renoise.correlation))).toBeLessThan((5 * Math.SQRT2 * 1.0625) / Math.sqrt(numKept));
  });

  it.each(['place', 'list'] as const)(
    'with noise by %s depends on seed, stream and its input alone, and leaves its input as it was',
    (order) => {
      const tokens = initialTokens({ rows: 4, cols: 4, values: 8, seed: 1, scale: 2 });
      const before = structuredClone(tokens);
      const run = (seed: number, stream: number) =>
        transition({
          tokens,
          chosen: Uint32Array.of(2, 7),
          mode: 'latent',
          renoise,
          seed,
          stream,
          order,
          referenceVariance: false,
          isLast: false,
        });
      expect(run(1, 1)).toEqual(run(1, 1));
      expect(run(1, 1).latents).not.toEqual(run(1, 2).latents);
      expect(run(1, 1).latents).not.toEqual(run(2, 1).latents);
      expect(tokens).toEqual(before);
    },
  );

  it.each([2, 3, 4, 5])(
    '%i stages end on the full grid in its order, whatever is upsampled when, r = 0 and r = 1 included',
    (K) => {
      const low = fc.record({
        rows: fc.integer({ min: 1, max: 5 }),
        cols: fc.integer({ min: 1, max: 5 }),
        ratios: fc.array(fc.constantFrom(0, 0.2, 0.5, 1), { minLength: K - 2, maxLength: K - 2 }),
        seed: fc.nat(99),
      });
      fc.assert(
        fc.property(low, ({ rows: lowRows, cols: lowCols, ratios, seed }) => {
          const numLow = lowRows * lowCols;
          const ranking = rankTokens(Uint32Array.from({ length: numLow }, (_, n) => (n * 7 + seed) % 5));
          const selected = selectedCounts(
            numLow,
            ratios.sort((a, b) => a - b),
          );
          const upsampledAt = [0, ...selected, numLow];
          const planned = tokenCounts(4 * numLow, selected);
          let tokens = initialTokens({ rows: lowRows, cols: lowCols, values: 4, seed, scale: 2 });
          for (let stream = 1; stream < K; stream++) {
            const chosen = selectStillLow(ranking, upsampledAt[stream - 1]!, upsampledAt[stream]!);
            // the ids of what is upsampled here are those of the ranked low tokens
            const expected = [...ranking.subarray(upsampledAt[stream - 1], upsampledAt[stream])].sort((a, b) => a - b);
            if (
              ![...chosen].every(
                (n, i) =>
                  tokens.imgIds[3 * n + 1]! * lowCols + tokens.imgIds[3 * n + 2]! === expected[i] &&
                  tokens.scale[n] === 2,
              )
            )
              return false;
            tokens = transition({
              tokens,
              chosen,
              mode: 'latent',
              renoise,
              seed,
              stream,
              order: 'place',
              referenceVariance: false,
              isLast: stream === K - 1,
            });
            if (tokens.scale.length !== planned[stream]) return false;
          }
          const ids = gridIds(2 * lowRows, 2 * lowCols);
          return (
            !tokens.scale.includes(2) &&
            tokens.imgIds.length === ids.length &&
            ids.every((id, i) => id === tokens.imgIds[i])
          );
        }),
        { seed: K, numRuns: 40 },
      );
    },
  );

  it.each(['latent', 'token'] as const)(
    'by place, in %s mode: what two selections treat alike is the same after both, at every boundary',
    (mode) => {
      const isLow = fc.array(fc.boolean(), { minLength: 20, maxLength: 20 });
      const chosenOf = (early: readonly boolean[]) =>
        Uint32Array.from(early.flatMap((isEarly, n) => (isEarly ? [n] : [])));
      const low = initialTokens({ rows: 4, cols: 5, values: 8, seed: 2, scale: 2 });
      const across = (tokens: Tokens, chosen: Uint32Array, stream: number, isLast: boolean) =>
        transition({
          tokens,
          chosen,
          mode,
          renoise,
          seed: 7,
          stream,
          order: 'place',
          referenceVariance: false,
          isLast,
        });
      /** values of each token, by its place and side */
      const byPlace = ({ latents, imgIds, scale }: Tokens) =>
        new Map(
          Array.from(scale, (side, n) => [
            `${imgIds[3 * n + 1]} ${imgIds[3 * n + 2]} ${side}`,
            [...latents.subarray(8 * n, 8 * n + 8)],
          ]),
        );
      fc.assert(
        fc.property(isLow, isLow, (one, other) => {
          const mixed = [one, other].map((early) => across(low, chosenOf(early), 1, false));
          const full = mixed.map((tokens) =>
            across(
              tokens,
              Uint32Array.from(tokens.scale.keys()).filter((n) => tokens.scale[n] === 2),
              2,
              true,
            ),
          );
          const [first, second] = mixed.map(byPlace);
          let shared = 0;
          for (const [place, values] of first!) {
            if (!second!.has(place)) continue;
            shared++;
            expect(second!.get(place)).toEqual(values);
          }
          expect(shared).toBeGreaterThanOrEqual(one.filter((isEarly, n) => isEarly === other[n]).length);
          for (const [n, isEarly] of one.entries()) {
            if (isEarly !== other[n]) continue;
            for (const [down, right] of [
              [0, 0],
              [0, 1],
              [1, 0],
              [1, 1],
            ] as const) {
              const at = 8 * ((2 * Math.floor(n / 5) + down) * 10 + 2 * (n % 5) + right);
              expect(full[0]!.latents.slice(at, at + 8)).toEqual(full[1]!.latents.slice(at, at + 8));
            }
          }
        }),
        { seed: 6, numRuns: 40 },
      );
    },
  );

  it('by list, another selection gives a token that it treats alike other noise', () => {
    const low = initialTokens({ rows: 2, cols: 3, values: 4, seed: 2, scale: 2 });
    // token 1 comes first of the kept where 0 is upsampled, second where 5 is
    const [first, second] = [[0], [5]].map((chosen) =>
      transition({
        tokens: low,
        chosen: Uint32Array.from(chosen),
        mode: 'latent',
        renoise,
        seed: 7,
        stream: 1,
        order: 'list',
        referenceVariance: false,
        isLast: false,
      }),
    );
    expect(first!.latents.slice(0, 4)).not.toEqual(second!.latents.slice(4, 8));
  });

  it('the last one refuses to leave a token low, and noise of another length is refused', () => {
    const tokens = initialTokens({ rows: 1, cols: 2, values: 4, seed: 1, scale: 2 });
    const boundary = {
      tokens,
      chosen: Uint32Array.of(0),
      mode: 'latent' as const,
      renoise,
      referenceVariance: false,
      isLast: true,
    };
    expect(() => transition({ ...boundary, seed: 1, stream: 1, order: 'place' })).toThrow(
      'chosen has 1 entries; expected every token of scale 2 at the last boundary',
    );
    expect(() => transitionWithNoise({ ...boundary, isLast: false }, new Float32Array(8))).toThrow(
      'white has 8 entries; expected 20',
    );
  });

  it('with the noise given is signal * Up(x) + noise * coloured noise, value by value', () => {
    const tokens = initialTokens({ rows: 2, cols: 2, values: 4, seed: 1, scale: 2 });
    const white = standardNormals({ seed: 1, stream: 9, count: 7 * 4 });
    const { latents } = transitionWithNoise(
      { tokens, chosen: Uint32Array.of(3), mode: 'token', renoise, referenceVariance: true, isLast: false },
      white.slice(),
    );
    const up = upsampleTokens(tokens, Uint32Array.of(3), 'token');
    const coloured = correlatedNoise(white.slice(12), {
      width: tokenWidth(tokens),
      mode: 'token',
      correlation: renoise.correlation,
    });
    for (const [i, value] of latents.entries())
      expect(value).toBeCloseTo(
        renoise.signal * up.latents[i]! + renoise.noise * (i < 12 ? white[i]! : coloured[i - 12]!),
        6,
      );
  });
});
