/**
 * What a run cost: time, work, and how that compares with the plain model, measured where it ran and counted where it
 * did not.
 *
 * @import { Run } from '../session/run.js'
 * @import { Receipt } from '../../src/billing/receipt.ts'
 */
import { element } from '../ground/element.js';
import { counted, dollars, duration, micro, times, work } from '../ground/figures.js';
import { denoised, numStepsDone } from '../session/run.js';
import { costTable, describeCost } from './receipt.js';

/** @param {string} title @param {string} big @param {string} after @param {...(Node | string)} rest */
const fact = (title, big, after, ...rest) =>
  element(
    'div',
    { className: 'fact' },
    element('h3', {}, title),
    element('p', { className: 'big' }, big, ...(after === '' ? [] : [element('small', {}, ` ${after}`)])),
    ...rest,
  );

/**
 * Two bars of one scale.
 *
 * @param {{ name: string, value: number }[]} values the watched run first
 * @param {(value: number) => string} format
 */
function bars(values, format) {
  const most = Math.max(...values.map(({ value }) => value));
  return values.map(({ name, value }, index) => {
    const bar = element('i');
    bar.style.width = `${most === 0 ? 0 : (100 * value) / most}%`;
    return element(
      'div',
      { className: index === 0 ? 'bar watched' : 'bar' },
      element('span', {}, name),
      bar,
      element('span', {}, format(value)),
    );
  });
}

/**
 * Draws the facts of a run, with the plain run's beside them where there is one.
 *
 * @param {Element} host
 * @param {{ name: string, run: Run, beside: Run | null, isBesideAwaited: boolean }} shown
 */
export function drawFacts(host, { name, run, beside, isBesideAwaited }) {
  const { receipt, plan } = run;
  if (!plan) return host.replaceChildren();
  const parts = [];
  const plainReceipt = beside?.receipt ?? null;

  if (receipt && plainReceipt) {
    const pair = (/** @type {(receipt: Receipt) => number} */ of) => [
      { name, value: of(receipt) },
      { name: 'plain', value: of(plainReceipt) },
    ];
    parts.push(
      fact(
        'Denoising, measured',
        times(denoised(plainReceipt) / denoised(receipt)),
        'faster than the plain model',
        ...bars(pair(denoised), duration),
      ),
      fact(
        'Whole request, measured',
        times(plainReceipt.wall_ms.total / receipt.wall_ms.total),
        'faster',
        ...bars(
          pair(({ wall_ms }) => wall_ms.total),
          duration,
        ),
      ),
    );
  } else if (receipt) {
    parts.push(
      fact('Whole request', duration(receipt.wall_ms.total), `of which denoising ${duration(denoised(receipt))}`),
    );
  }
  const isPlain = plan.tflops.ratio === 1;
  // of a run that came to no picture not all of the work was done
  const isCutShort = run.status === 'failed' || run.status === 'cancelled';
  if (isPlain && !isCutShort) parts.push(fact('Work of denoising, counted', work(plan.tflops.denoise), ''));
  else if (!isCutShort) {
    const { ratio, ratio_total } = plan.tflops;
    parts.push(
      fact(
        'Work of denoising, counted',
        times(ratio),
        ratio_total > 1 ? `less; ${times(ratio_total)} less with text and decoding` : 'less',
        ...bars(
          [
            { name, value: plan.tflops.denoise },
            { name: 'plain', value: plan.tflops.plain },
          ],
          work,
        ),
      ),
    );
  }
  if (run.cost) {
    const { title, amount, words } = describeCost(run.cost);
    const paid = micro(run.cost.usd ?? run.cost.quote_usd);
    const after = isCutShort && paid > 0 ? 'for the steps done' : isPlain && run.cost.usd !== null ? '' : words;
    const values = [
      { name, value: paid },
      { name: 'plain', value: micro(run.cost.plain_usd) },
    ];
    parts.push(
      fact(
        title,
        amount,
        after,
        // the plain model is not measured by itself, nor is half a picture by a whole one
        ...(isPlain || isCutShort ? [] : bars(values, (value) => dollars(value / 1e6))),
        ...(beside?.cost?.usd ? [element('small', {}, `and ${dollars(beside.cost.usd)} for the comparison`)] : []),
      ),
    );
  }
  if (isBesideAwaited) {
    const stage = beside?.stages[0];
    const title = beside ? 'The plain model runs, for comparison' : 'The plain model runs next, for comparison';
    parts.push(
      element(
        'div',
        { className: 'fact', id: 'plain-progress' },
        element('h3', {}, title),
        element('p', {}, stage ? `Step ${numStepsDone(stage)} of ${stage.steps}` : 'Waiting for its turn'),
        element('progress', {
          max: stage?.steps ?? 1,
          value: stage ? numStepsDone(stage) : 0,
          'aria-label': 'Steps of the plain model',
        }),
      ),
    );
  }
  // the receipt repeats the plan's
  for (const warning of receipt?.warnings ?? plan.warnings)
    parts.push(element('p', { className: 'warning' }, `Note: ${warning}.`));
  host.replaceChildren(...parts);
}

/** How the schedule came about, in a sentence. @param {Run} run */
export function describePlan({ plan }) {
  if (!plan) return '';
  const total = plan.stages.reduce((sum, { steps }) => sum + steps, 0);
  if (plan.stages.length === 1) return `One stage of ${counted(total, 'step')} at full resolution: the plain model.`;
  const shifts = plan.h.map((h) => h.toFixed(2)).join(', ');
  const strengths = `the renoise strength${plan.z.length === 1 ? '' : 's'} Z = ${plan.z.map((z) => z.toFixed(2)).join(', ')}`;
  const matched = plan.fitted
    ? `NT-Matching fitted the shifts h = ${shifts} and ${strengths}`
    : `The shifts are h = ${shifts}, ${strengths}`;
  return `${counted(total, 'step')} in ${plan.stages.length} stages. Dashed: upsampled latents get fresh noise and the clock goes back. ${matched}${plan.divergence === null ? '' : `; divergence from the model’s own schedule ${plan.divergence.toFixed(3)}`}.`;
}

/**
 * Draws all that the receipts of runs say. @param {Element} host @param {{ name: string, run: Run }[]} runs
 */
export function drawNumbers(host, runs) {
  const head = ['', 'Tokens', 'Steps', 'Denoising', 'Decoding', 'Whole stage', 'Work'];
  host.replaceChildren(
    ...runs.flatMap(({ name, run: { receipt } }) => {
      if (!receipt) return [];
      const rows = receipt.stages.map(({ stage, tokens, steps, compute_ms, decode_ms, wall_ms, tflops }) => [
        `Stage ${stage}`,
        String(tokens),
        String(steps),
        duration(compute_ms),
        duration(decode_ms),
        duration(wall_ms),
        work(tflops),
      ]);
      return [
        element(
          'table',
          {},
          element(
            'caption',
            {},
            `${name}: ${duration(receipt.wall_ms.total)} in all, of which ${duration(receipt.wall_ms.orchestration)} outside the stage server; ${work(receipt.tflops.denoise + receipt.tflops.decode + receipt.tflops.text)} with decoding and text`,
          ),
          element(
            'thead',
            {},
            element(
              'tr',
              {},
              ...head.map((cell) => (cell === '' ? element('td') : element('th', { scope: 'col' }, cell))),
            ),
          ),
          element(
            'tbody',
            {},
            ...rows.map(([first = '', ...cells]) =>
              element(
                'tr',
                {},
                element('th', { scope: 'row' }, first),
                ...cells.map((cell) => element('td', {}, cell)),
              ),
            ),
          ),
        ),
        ...(receipt.cost ? [costTable(name, receipt.cost)] : []),
        element('p', { className: 'note' }, `Engine of ${name}: ${receipt.engine}`),
      ];
    }),
  );
}
