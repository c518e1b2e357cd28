/** The way to a stage server where a gateway stands before it: what a request carries, and how it finds its worker. */

/** The way to a stage server behind a gateway: what a request carries beside the token, and how it finds a worker. */
export interface Route {
  /** where the token stands: as a bearer in `Authorization`, or alone in `X-Stage-Token` */
  readonly tokenHeader: TokenHeader;
  /** of every request; for the gateway */
  readonly headers: Readonly<Record<string, string>>;
  /** header by which the gateway leads several requests to one of the workers behind it; null: it is not asked to */
  readonly affinity: Affinity | null;
}

export const TOKEN_HEADERS = ['Authorization', 'X-Stage-Token'] as const;
export type TokenHeader = (typeof TOKEN_HEADERS)[number];

export interface Affinity {
  readonly header: string;
  /**
   * `job`: we name the session, by the job's id. `worker`: the gateway names the worker in its answers, and the header
   * sends that name back: as it is where another worker will do, after `strict ` where none other will
   */
  readonly by: 'job' | 'worker';
}

/** To a server that nothing stands before. */
export const DIRECT: Route = { tokenHeader: 'Authorization', headers: {}, affinity: null };

/** A worker's name that may be sent back: one word of what a header may hold. */
const WORKER_NAME = /^[!-~]{1,200}$/;

/** The header that leads a request for stage `id` to a worker, `rather` or `only` there; none where that is unknown. */
export function leadTo(
  affinity: Affinity | null,
  id: string,
  { worker, how }: { readonly worker: string | null; readonly how: 'rather' | 'only' },
): Record<string, string> {
  if (affinity === null) return {};
  if (affinity.by === 'job') return { [affinity.header]: id.split('.', 1)[0] as string };
  if (worker === null) return {};
  return { [affinity.header]: how === 'only' ? `strict ${worker}` : worker };
}

/** The worker that a gateway names in an answer; null where it names none that could be sent back. */
export function workerIn(affinity: Affinity | null, { headers }: Response): string | null {
  const worker = affinity?.by === 'worker' ? headers.get(affinity.header) : null;
  return worker !== null && WORKER_NAME.test(worker) ? worker : null;
}
