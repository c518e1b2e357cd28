import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { modelShift } from '../../src/job/model-shift.ts';
import { presetsFor } from '../../src/job/presets.ts';
import { fitSchedule } from '../../src/numerics/nt-matching.ts';
import { amplitudeRanges, boundaryAmplitudes, WANTED_AMPLITUDE, zBound } from '../../src/numerics/restart-amplitude.ts';

const PAGE = readFileSync(new URL('../../docs/method.md', import.meta.url), 'utf8');

/** The shift of each model's own schedule, as its facts state it: constant, and FLUX's rule. */
const BUNDLED = [{ tokens: 256, shift: 3 }];
const FLUX = [
  { tokens: 256, shift: Math.exp(0.5) },
  { tokens: 4096, shift: Math.exp(1.15) },
];
const OWN = [{ name: '7x-two-stage', N: [3, 6], e: [0.2, 1], r: [] }];
const SIZES = [
  ['bundled, 256²', 256, BUNDLED, OWN],
  ['bundled, 512²', 512, BUNDLED, OWN],
  ['FLUX, 1024²', 1024, FLUX, []],
  ['FLUX, 1536²', 1536, FLUX, []],
  ['FLUX, 2048²', 2048, FLUX, []],
] as const;

const text = (values: readonly number[]): string => values.map((value) => value.toFixed(2)).join(', ');

/** The lines of the page's table: a size and a preset each. */
function rows(): string[] {
  return SIZES.flatMap(([name, pixels, points, presets]) =>
    presetsFor({
      family: 'flux.1',
      steps: 50,
      caches: ['taylor_velocity'],
      presets: presets.map((preset) => structuredClone(preset)),
    })
      .filter(({ cache }) => cache === null)
      .map(({ name: preset, steps, ends, ratios, published }) => {
        const tokens = (pixels / 16) ** 2;
        const lowTokens = tokens / 4;
        const selected = ratios.map((ratio) => Math.floor(ratio * lowTokens));
        const restarts = { side: pixels / 8, ends, selected, lowTokens };
        const width = WANTED_AMPLITUDE.share * restarts.side;
        const bounds = ends
          .slice(0, -1)
          .map((end, k) =>
            k === ends.length - 2
              ? zBound(width, end, WANTED_AMPLITUDE.last)
              : Math.min(zBound(width, end, WANTED_AMPLITUDE.upsampled), zBound(width / 2, end, WANTED_AMPLITUDE.kept)),
          );
        const zRanges = amplitudeRanges(restarts);
        const fit = fitSchedule({ steps, ends, modelShift: modelShift(points, tokens), zRanges });
        const paper = published?.z;
        const [first, last] = boundaryAmplitudes(restarts, paper ? [paper, paper] : fit.z);
        const reached = [first?.upsampled, first?.kept, last?.upsampled].map((kind) => kind?.reached ?? 0);
        const asPublished = paper ? [paper.toFixed(2), text(reached)] : ['–', '–'];
        return `| ${[name, preset, text(bounds), text(fit.z), fit.divergence.toFixed(3), ...asPublished].join(' | ')} |`;
      }),
  );
}

it('the page’s table is what the code gives, line by line', () => {
  expect(PAGE.split('\n').filter((line) => /^\| (bundled|FLUX), /.test(line))).toEqual(rows());
});

it('the page states the wanted amplitudes that the code has', () => {
  const { share, upsampled, kept, last } = WANTED_AMPLITUDE;
  expect(PAGE).toContain(`| ${share} | ${upsampled} | ${kept} | ${last} |`);
});
