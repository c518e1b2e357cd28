/** The story of a job as lines of text, for surfaces that have logs. Pure. */
import type { CostView } from '../billing/charge.ts';
import type { FollowedEvent, JobEvent } from './events.ts';

export interface LogLine {
  readonly message: string;
  readonly level: 'INFO' | 'WARN' | 'ERROR';
  /** milliseconds since 1970 */
  readonly at: number;
}

const count = (n: number, thing: string): string => `${n} ${thing}${n === 1 ? '' : 's'}`;

type Text = readonly [LogLine['level'], string];
const line = (...text: Text): readonly Text[] => [text];

/** What a job has cost; no line where nothing is charged. Older events do not say. */
const costLine = (cost: CostView | null | undefined): readonly Text[] =>
  cost && cost.usd !== null ? line('INFO', `it cost ${cost.usd} USD`) : [];

function textsOf(event: JobEvent): readonly Text[] {
  switch (event.type) {
    case 'plan': {
      const { stages, tflops, model, warnings, cost } = event.data;
      const work = tflops.ratio === 1 ? '' : `, ${tflops.ratio.toFixed(2)} times less denoising than the plain run`;
      return [
        ['INFO', `${model}: ${count(stages.length, 'stage')}${work}`],
        ...(cost ? line('INFO', `at most ${cost.quote_usd} USD, the plain run ${cost.plain_usd} USD`) : []),
        ...warnings.map((warning): Text => ['WARN', warning]),
      ];
    }
    case 'stage': {
      const { stage, stages, tokens, steps, attempt } = event.data;
      return line(
        'INFO',
        `stage ${stage} of ${stages}: ${count(tokens, 'token')}, ${count(steps, 'step')}${attempt > 1 ? `, attempt ${attempt}` : ''}`,
      );
    }
    case 'retry':
      return line(
        'WARN',
        `stage ${event.data.stage} failed (${event.data.reason}); next attempt in ${event.data.wait_ms / 1000} s`,
      );
    case 'selection':
      return line(
        'INFO',
        `${count(event.data.indices.length, 'token')} ${event.data.edges ? 'at edges' : 'with detail'} go to full resolution early`,
      );
    case 'done':
      return [['INFO', `done in ${Math.round(event.data.receipt.wall_ms.total)} ms`], ...costLine(event.data.cost)];
    case 'failed':
      return [['ERROR', event.data.message], ...costLine(event.data.cost)];
    case 'cancelled':
      return [['INFO', 'cancelled'], ...costLine(event.data.cost)];
    case 'queued':
    case 'step':
    case 'preview':
      return [];
  }
}

/** The lines of every event worth one, in order. */
export function logLines(events: readonly FollowedEvent[]): readonly LogLine[] {
  return events.flatMap((event) => textsOf(event).map(([level, message]) => ({ level, message, at: event.at })));
}

/**
 * Place and expected wait of the job in a stage server's queue, as its newest event states them. Both are null where
 * every server is too busy to take the job; the whole is null where the job does not wait.
 */
export function queueOf(
  last: JobEvent | undefined,
  isBusy: boolean,
): { readonly position: number | null; readonly eta_ms: number | null } | null {
  if (last?.type === 'queued') return { position: last.data.position, eta_ms: last.data.eta_ms };
  return isBusy ? { position: null, eta_ms: null } : null;
}
