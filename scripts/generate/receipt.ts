/** A receipt as text for people. Pure. */

import type { ReceiptCost } from '../../src/billing/charge.ts';
import type { Receipt } from '../../src/billing/receipt.ts';
import type { PlanView } from '../../src/job/job.ts';

const ms = (value: number): string => `${value < 100 ? value.toFixed(1) : value.toFixed(0)} ms`;
const figures = (value: number): string =>
  value === 0 ? '0' : value < 0.0001 ? value.toExponential(1) : Number(value.toPrecision(3)).toString();
const list = (values: readonly number[]): string => values.map((value) => value.toFixed(3)).join(', ');

/** Rows as aligned columns: the first to the left, the others to the right. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows.map(
    (row) =>
      `  ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ')}`,
  );
}

/** Milliseconds of denoising in all stages, as the stage servers reported them. */
export const denoiseMs = ({ stages }: Receipt): number => stages.reduce((sum, { compute_ms }) => sum + compute_ms, 0);

/** What was paid, line by line; nothing where nothing is charged. */
function describeCost(cost: ReceiptCost | null | undefined): string[] {
  // a service of an older version says nothing of it
  if (!cost) return [];
  const rows = [
    ['item', 'tokens', '× steps', 'TFLOPs', 'USD'],
    ...cost.lines.map(({ item, tokens, steps, tflops, usd }) => [
      item,
      tokens === null ? '' : String(tokens),
      tokens === null || item === 'text' ? '' : String(steps),
      figures(tflops),
      usd,
    ]),
  ];
  return [
    `cost       ${cost.usd} USD of at most ${cost.quote_usd} · plain model ${cost.plain_usd} · ${cost.usd_per_tflop} a TFLOP, at least ${cost.minimum_usd} · tariff ${cost.tariff}`,
    ...table(rows),
  ];
}

/** The receipt and the schedule it was run with, as lines of text. */
export function describeReceipt(receipt: Receipt, plan: PlanView): string {
  const { tflops, wall_ms, stages } = receipt;
  const isStaged = stages.length > 1;
  const lines = [
    `model      ${receipt.model} (${receipt.model_digest.slice(0, 12)}), ${receipt.engine}, seed ${receipt.seed}, preset ${receipt.preset ?? 'custom'}`,
  ];
  if (isStaged) {
    lines.push(
      `schedule   h ${list(plan.h)} · Z ${list(plan.z)} · restarts s ${list(plan.s)} · divergence ${plan.divergence?.toFixed(4) ?? '–'}`,
    );
    lines.push(`           ${plan.fitted ? 'fitted by NT-Matching' : 'h and Z as given, not fitted'}`);
  } else {
    lines.push(`schedule   one stage at full resolution, h ${list(plan.h)}`);
  }
  const total = (pick: (stage: Receipt['stages'][number]) => number): number =>
    stages.reduce((sum, stage) => sum + pick(stage), 0);
  const rows = [
    [
      'stage',
      'tokens',
      '× evaluations',
      '= token evaluations',
      'TFLOPs',
      'denoise',
      'decode',
      'encode',
      'wall',
      'attempts',
    ],
    ...stages.map((s) => [
      String(s.stage),
      String(s.tokens),
      String(s.evaluations),
      String(s.tokens * s.evaluations),
      figures(s.tflops),
      ms(s.compute_ms),
      ms(s.decode_ms),
      ms(s.encode_ms),
      ms(s.wall_ms),
      String(s.attempts),
    ]),
    [
      'all',
      '',
      String(total((s) => s.evaluations)),
      String(total((s) => s.tokens * s.evaluations)),
      figures(tflops.denoise),
      ms(denoiseMs(receipt)),
      ms(total((s) => s.decode_ms)),
      ms(total((s) => s.encode_ms)),
      ms(total((s) => s.wall_ms)),
      String(total((s) => s.attempts)),
    ],
  ];
  lines.push('done       as the stage server reported it', ...table(rows));
  lines.push(
    `work       denoising ${figures(tflops.denoise)} TFLOPs with attention, ${figures(tflops.denoise_without_attention)} without · decode ${figures(tflops.decode)} · text ${figures(tflops.text)}`,
  );
  const { ratio, ratio_without_attention, ratio_total } = plan.tflops;
  lines.push(
    `           plain model ${figures(tflops.plain)} TFLOPs of denoising: ${ratio.toFixed(2)}x this (${ratio_without_attention.toFixed(2)}x without attention) · ${figures(tflops.plain_total)} in all: ${ratio_total.toFixed(2)}x`,
  );
  lines.push(
    `wall       ${ms(wall_ms.total)}: ${wall_ms.rooms.map(({ room, ms: spent }) => `${room} ${ms(spent)}`).join(' · ')} · of it orchestration ${ms(wall_ms.orchestration)}`,
  );
  lines.push(...describeCost(receipt.cost));
  for (const warning of receipt.warnings) lines.push(`warning    ${warning}`);
  return lines.join('\n');
}

export interface Comparison {
  /** preset that was compared with the plain model */
  readonly preset: string;
  readonly denoise_ms: { readonly plain: number; readonly staged: number; readonly speedup: number };
  readonly request_ms: { readonly plain: number; readonly staged: number; readonly speedup: number };
  /**
   * plain work / staged work, attention counted: what the denoising speed-up cannot exceed on a machine whose speed
   * does not depend on the number of tokens
   */
  readonly work_ratio: number;
  /** null where nothing is charged */
  readonly cost_usd: { readonly plain: string; readonly staged: string } | null;
}

/** How much faster the staged run was than the plain one: its denoising alone, and the whole request. */
export function compare(staged: Receipt, plain: Receipt): Comparison {
  const pair = (slow: number, fast: number): { plain: number; staged: number; speedup: number } => ({
    plain: slow,
    staged: fast,
    speedup: slow / fast,
  });
  return {
    preset: staged.preset ?? 'custom',
    denoise_ms: pair(denoiseMs(plain), denoiseMs(staged)),
    request_ms: pair(plain.wall_ms.total, staged.wall_ms.total),
    work_ratio: plain.tflops.denoise / staged.tflops.denoise,
    cost_usd: plain.cost && staged.cost ? { plain: plain.cost.usd, staged: staged.cost.usd } : null,
  };
}

export function describeComparison({ preset, denoise_ms, request_ms, work_ratio, cost_usd }: Comparison): string {
  return [
    `compared   denoising      plain ${ms(denoise_ms.plain)} · ${preset} ${ms(denoise_ms.staged)} · ${denoise_ms.speedup.toFixed(2)}x faster, measured (work: ${work_ratio.toFixed(2)}x less)`,
    `           whole request  plain ${ms(request_ms.plain)} · ${preset} ${ms(request_ms.staged)} · ${request_ms.speedup.toFixed(2)}x faster, measured`,
    ...(cost_usd ? [`           cost           plain ${cost_usd.plain} USD · ${preset} ${cost_usd.staged} USD`] : []),
  ].join('\n');
}
