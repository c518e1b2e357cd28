/**
 * The fleet as metrics in Prometheus' text format. Pure.
 * Source: https://prometheus.io/docs/instrumenting/exposition_formats/
 */
import type { FleetServerView, FleetView } from './view.ts';

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number | null];

interface Metric {
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly samples: (fleet: FleetView) => readonly Sample[];
}

const STATES: readonly FleetServerView['state'][] = [
  ...(['ready', 'full', 'probing', 'out', 'draining', 'unknown', 'unused'] as const),
];
const OUTCOMES = ['done', 'busy', 'wrong', 'dropped'] as const;

const ofLines =
  (value: (line: FleetView['pools'][number]['lines'][number]) => number | null) =>
  ({ pools }: FleetView): readonly Sample[] =>
    pools.flatMap(({ region, pool, lines }) =>
      lines.map((line) => [{ region, pool, model: line.model }, value(line)] as const),
    );

const ofServers =
  (samples: (server: FleetServerView) => readonly Sample[]) =>
  ({ pools }: FleetView): readonly Sample[] =>
    pools.flatMap(({ region, pool, servers }) =>
      servers.flatMap((server) =>
        samples(server).map(([labels, value]) => [{ region, pool, server: server.id, ...labels }, value] as const),
      ),
    );

const seconds = (ms: number | null): number | null => (ms === null ? null : ms / 1000);

/** Every metric by its name. Counters begin anew with their dispatcher. */
export const METRICS: Readonly<Record<string, Metric>> = {
  ralu_dispatcher_up: {
    type: 'gauge',
    help: 'Whether the dispatcher of a region and pool answered',
    samples: ({ pools }) => pools.map(({ region, pool, fault }) => [{ region, pool }, fault === null ? 1 : 0] as const),
  },
  ralu_waiting_tflops: {
    type: 'gauge',
    help: 'Work of the jobs that wait for a slot: their next stage and all behind it',
    samples: ofLines(({ waiting_tflops }) => waiting_tflops),
  },
  ralu_waiting_jobs: {
    type: 'gauge',
    help: 'Jobs that wait for a slot',
    samples: ofLines(({ waiting }) => waiting),
  },
  ralu_waiting_accounts: {
    type: 'gauge',
    help: 'Accounts that these jobs belong to',
    samples: ofLines(({ accounts }) => accounts),
  },
  ralu_oldest_wait_seconds: {
    type: 'gauge',
    help: 'Age of the oldest job that waits, since it was created',
    samples: ofLines(({ oldest_ms }) => seconds(oldest_ms)),
  },
  ralu_expected_wait_seconds: {
    type: 'gauge',
    help: 'Expected wait of a job that comes now, of an account that has none',
    samples: ofLines(({ expected_wait_ms }) => seconds(expected_wait_ms)),
  },
  ralu_server_state: {
    type: 'gauge',
    help: `1 for the state that a server is in: ${STATES.join(', ')}`,
    samples: ofServers(({ state }) => STATES.map((one) => [{ state: one }, state === one ? 1 : 0] as const)),
  },
  ralu_slots: {
    type: 'gauge',
    help: 'Stages that may run at a server at once',
    samples: ofServers(({ slots }) => [[{}, slots]]),
  },
  ralu_slots_held: {
    type: 'gauge',
    help: 'Stages that run there',
    samples: ofServers(({ held }) => [[{}, held]]),
  },
  ralu_outstanding_tflops: {
    type: 'gauge',
    help: 'Work of these stages',
    samples: ofServers(({ outstanding_tflops }) => [[{}, outstanding_tflops]]),
  },
  ralu_ms_per_tflop: {
    type: 'gauge',
    help: 'Pace of a server over its last stages; not there where none was measured of late',
    samples: ofServers(({ ms_per_tflop }) => [[{}, ms_per_tflop]]),
  },
  ralu_breaker_openings_total: {
    type: 'counter',
    help: 'How often a server was put out',
    samples: ofServers(({ openings }) => [[{}, openings]]),
  },
  ralu_stages_total: {
    type: 'counter',
    help: `Stages that a server was given, by what came of them: ${OUTCOMES.join(', ')}`,
    samples: ofServers(({ stages }) => OUTCOMES.map((outcome) => [{ outcome }, stages[outcome]] as const)),
  },
};

const quote = (text: string): string =>
  `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;

/** All metrics of a fleet. A value that is not known has no line. */
export function metricsText(fleet: FleetView): string {
  const lines = Object.entries(METRICS).flatMap(([name, { type, help, samples }]) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...samples(fleet).flatMap(([labels, value]) => {
      if (value === null || !Number.isFinite(value)) return [];
      const pairs = Object.entries(labels).map(([label, text]) => `${label}=${quote(text)}`);
      return [`${name}{${pairs.join(',')}} ${value}`];
    }),
  ]);
  return `${lines.join('\n')}\n`;
}
