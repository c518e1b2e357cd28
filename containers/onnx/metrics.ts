/**
 * Counters of one stage server as Prometheus text. Format: https://prometheus.io/docs/instrumenting/exposition_formats/
 */

export type Outcome = 'done' | 'failed' | 'cancelled' | 'orphaned' | 'drained';
const OUTCOMES: readonly Outcome[] = ['done', 'failed', 'cancelled', 'orphaned', 'drained'];

interface Counts {
  readonly stages: Record<Outcome, number>;
  steps: number;
  /** image tokens times steps, forecast ones too */
  tokens: number;
  computeMs: number;
  thumbnails: number;
  thumbnailMs: number;
}

export interface Metrics {
  step(model: string, numTokens: number, ms: number): void;
  /** a thumbnail was made, in so much time of the thread that computes */
  thumbnail(model: string, ms: number): void;
  finished(model: string, outcome: Outcome): void;
  render(gauges: { readonly waiting: number; readonly running: number }): string;
}

const quote = (text: string): string =>
  `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;

/** Counters that start at zero; `render` gives them with the gauges of the moment. */
export function createMetrics(): Metrics {
  const models = new Map<string, Counts>();
  const of = (model: string): Counts => {
    const counts = models.get(model) ?? {
      stages: { done: 0, failed: 0, cancelled: 0, orphaned: 0, drained: 0 },
      steps: 0,
      tokens: 0,
      computeMs: 0,
      thumbnails: 0,
      thumbnailMs: 0,
    };
    models.set(model, counts);
    return counts;
  };
  const family = (name: string, type: 'counter' | 'gauge', help: string, samples: readonly string[]): string =>
    [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...samples.map((sample) => `${name}${sample}`)].join('\n');
  const perModel = (value: (counts: Counts) => number): string[] =>
    [...models].map(([model, counts]) => `{model=${quote(model)}} ${value(counts)}`);

  return {
    step(model, numTokens, ms) {
      const counts = of(model);
      counts.steps += 1;
      counts.tokens += numTokens;
      counts.computeMs += ms;
    },
    thumbnail(model, ms) {
      const counts = of(model);
      counts.thumbnails += 1;
      counts.thumbnailMs += ms;
    },
    finished(model, outcome) {
      of(model).stages[outcome] += 1;
    },
    render: ({ waiting, running }) =>
      `${[
        family(
          'stage_finished_total',
          'counter',
          'Stages that ended, by outcome.',
          [...models].flatMap(([model, { stages }]) =>
            OUTCOMES.map((outcome) => `{model=${quote(model)},outcome="${outcome}"} ${stages[outcome]}`),
          ),
        ),
        family(
          'stage_steps_total',
          'counter',
          'Denoising steps done, forecast ones too.',
          perModel(({ steps }) => steps),
        ),
        family(
          'stage_tokens_total',
          'counter',
          'Image tokens denoised, counted once a step.',
          perModel(({ tokens }) => tokens),
        ),
        family(
          'stage_compute_seconds_total',
          'counter',
          'Seconds spent in denoising steps.',
          perModel(({ computeMs }) => computeMs / 1000),
        ),
        family(
          'stage_thumbnails_total',
          'counter',
          'Thumbnails made of stages on their way.',
          perModel(({ thumbnails }) => thumbnails),
        ),
        family(
          'stage_thumbnail_seconds_total',
          'counter',
          'Seconds that thumbnails took of the thread that computes.',
          perModel(({ thumbnailMs }) => thumbnailMs / 1000),
        ),
        family('stage_queue_length', 'gauge', 'Stages waiting.', [` ${waiting}`]),
        family('stage_running', 'gauge', 'Stages computing.', [` ${running}`]),
      ].join('\n')}\n`,
  };
}
