/** What docs/deploy.md shows: entries of BACKENDS that are valid, and a table of models that the formulas give. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { connect, parseBackends } from '../../src/fleet/backends.ts';
import { fluxFlopFacts, sd3FlopFacts, stepFlops } from '../../src/numerics/flops.ts';
import { selectedCounts, tokenCounts } from '../../src/numerics/token-counts.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/deploy.md'), 'utf8');

test('every list of backends on the page is one, and names the secrets that the page sets', () => {
  const lists = [...page.matchAll(/^BACKENDS = '(.*)'$/gm)].map(([, text]) => parseBackends(text as string));
  expect(lists.map(([first]) => first?.id)).toEqual(['runpod', 'gpu-1', 'gpu-1', 'modal', 'gpu-1']);
  for (const backend of lists.flat()) {
    const secrets = Object.values(backend.secret_headers);
    for (const secret of secrets) expect(page.split(secret).length, secret).toBeGreaterThan(2);
    const bindings = Object.fromEntries([...secrets.map((name) => [name, 'x']), ['GPU_1', { fetch }]]);
    expect(() => connect(backend, bindings)).not.toThrow();
  }
});

/** TFLOP/s at which the page turns work into seconds. */
const RATE = Number(/at (\d+) TFLOP\/s/.exec(page)?.[1]);
const early = (ratio: number) => tokenCounts(4096, selectedCounts(1024, [ratio]));
const plain = tokenCounts(4096, null);
const dev = fluxFlopFacts({ textTokens: 512, guidance: true });
const schnell = fluxFlopFacts({ textTokens: 512, guidance: false });
const sd3 = sd3FlopFacts({ textTokens: 333, cfg: true });

test.each([
  ['FLUX.1-dev', 'plain, 50 steps', dev, [50], plain],
  ['FLUX.1-dev', '`4x`', dev, [5, 6, 7], early(0.3)],
  ['FLUX.1-dev', '`5x`', dev, [4, 5, 6], early(0.2)],
  ['FLUX.1-dev', '`7x`', dev, [2, 3, 5], early(0.1)],
  ['FLUX.1-schnell', 'plain, 4 steps', schnell, [4], plain],
  ['FLUX.1-schnell', '`few`', schnell, [1, 1, 2], early(0.3)],
  ['Stable Diffusion 3 Medium', 'plain, 28 steps, CFG', sd3, [28], plain],
  ['Stable Diffusion 3 Medium', '`2x`', sd3, [5, 6, 9], early(0.3)],
  ['Stable Diffusion 3 Medium', '`3x`', sd3, [3, 3, 6], early(0.2)],
] as const)('%s, %s has the work of the formulas, and the seconds of that work', (model, row, facts, steps, tokens) => {
  const lines = page.slice(page.indexOf(`\n| ${model} |`) + 1).split('\n');
  const line = lines.find((one) => one.includes(`| ${row} |`))?.split('|');
  const [tflops, seconds] = [Number(line?.[6]), Number(line?.[7])];
  const work = steps.reduce((sum, count, k) => sum + count * stepFlops(facts, tokens[k] ?? 0).total, 0) / 1e12;
  expect(tflops).toBe(Math.round(work));
  expect(seconds).toBeCloseTo(work / RATE, 2);
});
