/** The fleet of a deployment as a table for a person. Pure. */

/** What `GET /v1/fleet` answers, as far as it is shown. */
export interface Fleet {
  readonly pools: readonly {
    readonly region: string;
    readonly pool: string;
    readonly fault: string | null;
    readonly servers: readonly {
      readonly id: string;
      readonly state: string;
      readonly reason: string | null;
      readonly slots: number;
      readonly slots_held: number;
      readonly ms_per_tflop: number | null;
      readonly probe_at: number | null;
      readonly models: readonly { readonly id: string }[];
      readonly said_at: number | null;
      readonly stages: { readonly done: number; readonly busy: number; readonly wrong: number };
    }[];
    readonly lines: readonly {
      readonly model: string;
      readonly waiting_jobs: number;
      readonly waiting_tflops: number;
      readonly accounts: number;
      readonly oldest_seconds: number;
      readonly expected_wait_seconds: number | null;
    }[];
  }[];
}
type Pool = Fleet['pools'][number];

const HEADER = ['server', 'state', 'slots', 'ms/TFLOP', 'done', 'busy', 'wrong', 'said', 'models', 'why'];

/** A table for each region and pool, and below it what waits. */
export const describeFleet = ({ pools }: Fleet, now: number): string[] =>
  pools.flatMap((one, i) => [...(i === 0 ? [] : ['']), ...describePool(one, now)]);

function describePool({ region, pool, fault, servers, lines }: Pool, now: number): string[] {
  const rows = servers.map((server) => describeServer(server, now));
  const waits = lines.map((line) => `  ${describeLine(line)}`);
  return [
    `${region || '(no region)'}/${pool}${fault === null ? '' : `: ${fault}`}`,
    ...table([HEADER, ...rows]).map((line) => `  ${line}`),
    ...(fault === null && waits.length === 0 ? ['  nothing waits'] : waits),
  ];
}

function describeServer(server: Pool['servers'][number], now: number): string[] {
  const { id, state, reason, slots, slots_held, ms_per_tflop, probe_at, models, said_at, stages } = server;
  const secondsTo = (at: number): number => Math.round(at - now / 1000);
  const probe = probe_at === null ? [] : [describeProbe(secondsTo(probe_at))];
  return [
    id,
    state,
    `${slots_held}/${slots}`,
    ms_per_tflop === null ? '-' : figures(ms_per_tflop),
    ...[stages.done, stages.busy, stages.wrong].map(String),
    said_at === null ? 'never' : `${Math.max(0, -secondsTo(said_at))} s ago`,
    models.map((model) => model.id).join(',') || '-',
    [...(reason === null ? [] : [reason]), ...probe].join('; '),
  ];
}

const describeProbe = (seconds: number): string =>
  seconds > 0 ? `a probe in ${seconds} s` : 'its next stage is a probe';

function describeLine(line: Pool['lines'][number]): string {
  const { model, waiting_jobs, waiting_tflops, accounts, oldest_seconds, expected_wait_seconds } = line;
  const work = `${waiting_jobs} jobs of ${accounts} accounts wait for ${model}: ${figures(waiting_tflops)} TFLOPs`;
  const next =
    expected_wait_seconds === null ? 'of a new one unknown' : `of a new one about ${figures(expected_wait_seconds)} s`;
  return `${work}; wait of the oldest ${figures(oldest_seconds)} s, ${next}`;
}

const figures = (value: number): string => String(Number(value.toPrecision(3)));

/** Rows with columns as wide as their widest cell. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
