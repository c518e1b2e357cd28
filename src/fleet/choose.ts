/** Which of the stage servers that can take a stage it is best sent to. Pure. */

/** A server that can take the stage, as it is now. */
export interface Choosable {
  readonly id: string;
  /** share of the stages it is to get: 1 as any other, less for one that is tried out, 0 for one to be emptied */
  readonly weight: number;
  /** milliseconds a TFLOP; null: not known */
  readonly pace: number | null;
  /** work it has and has not finished, TFLOPs, and since when it works on the oldest of it, milliseconds */
  readonly outstanding: number;
  readonly workingMs: number;
  /** it could take a stage at once */
  readonly isFree: boolean;
  /** stages it was given lately, older ones counting less */
  readonly given: number;
}

/** A stage that looks for its server. */
export interface Wanting {
  readonly tflops: number;
  /** where the job's last stage ran: its prompt is encoded there; null: nowhere yet */
  readonly last: string | null;
  /** what it costs to go elsewhere, TFLOPs: the prompt is encoded again */
  readonly movingTflops: number;
  /** servers where the stage came to nothing */
  readonly tried: readonly string[];
}

export interface Ranked {
  readonly id: string;
  readonly isFree: boolean;
  /** until the stage is expected to be done, milliseconds */
  readonly expectedMs: number;
  readonly why: 'least_wait' | 'stays' | 'owed';
}

/** What moving costs beside the prompt: another connection, a worker that is cold. Milliseconds. */
const MOVING_MS = 20;
/** Stands in for a pace where none is known of any server: then the work in hand decides. */
const UNKNOWN_PACE = 1;

/** Milliseconds a TFLOP, as `pace` says, or as the stage under way already shows. */
function presentPace({ pace, outstanding, workingMs }: Choosable, usual: number): number {
  const known = pace ?? usual;
  // it has worked on its oldest stage longer than all it has should take
  return outstanding > 0 ? Math.max(known, workingMs / outstanding) : known;
}

/** The share of the stages that a server with a weight of its own has had, below what it is to have. */
function isOwed(server: Choosable, servers: readonly Choosable[]): boolean {
  const weights = servers.reduce((sum, { weight }) => sum + weight, 0);
  const given = servers.reduce((sum, other) => sum + other.given, 0);
  return server.given * weights < server.weight * (given + 1);
}

/**
 * The servers, best first: the one where the stage is expected to be done soonest, with what it costs to leave the one
 * that has the prompt. Where waiting for a busy one is sooner than beginning at a free one, the busy one comes first,
 * and the stage waits. A server where the stage came to nothing is none, unless there is no other; one of weight 0 is
 * none, unless the job is there. One with a weight below 1 gets its share of new jobs first, and of others nothing.
 */
export function choose(
  servers: readonly Choosable[],
  { tflops, last, movingTflops, tried }: Wanting,
): readonly Ranked[] {
  const open = servers.filter(({ id, weight }) => weight > 0 || id === last);
  const untried = open.filter(({ id }) => !tried.includes(id));
  const candidates = untried.length > 0 ? untried : open;
  const known = candidates.flatMap(({ pace }) => (pace !== null && Number.isFinite(pace) ? [pace] : []));
  const usual = known.length > 0 ? Math.min(...known) : UNKNOWN_PACE;
  const isHeld = last !== null && candidates.some(({ id }) => id === last);
  const ranked = candidates.map((server) => {
    const pace = presentPace(server, usual);
    const waiting = Math.max(0, timeOf(server.outstanding, pace) - server.workingMs);
    const moving = last === null || server.id === last ? 0 : timeOf(movingTflops, pace) + MOVING_MS;
    const isOnTrial = server.weight > 0 && server.weight < 1;
    // nobody waits for one that is tried out
    const owed = isOnTrial && server.isFree && !isHeld && isOwed(server, open);
    const why: Ranked['why'] = owed ? 'owed' : server.id === last ? 'stays' : 'least_wait';
    const order = owed ? 0 : isOnTrial && server.id !== last ? 2 : 1;
    return { server, order, why, expectedMs: waiting + moving + timeOf(tflops, pace) };
  });
  ranked.sort(
    (a, b) =>
      a.order - b.order ||
      inSteps(a.expectedMs) - inSteps(b.expectedMs) ||
      Number(b.server.isFree) - Number(a.server.isFree) ||
      shareOf(a.server) - shareOf(b.server),
  );
  return ranked.map(({ server: { id, isFree }, expectedMs, why }) => ({ id, isFree, expectedMs, why }));
}

/** Milliseconds that work takes; no work takes none, even where nothing gets done. */
const timeOf = (tflops: number, pace: number): number => (tflops === 0 ? 0 : tflops * pace);

/** What it was given for its weight; one of weight 0 has had enough. */
const shareOf = ({ given, weight }: Choosable): number => (weight > 0 ? given / weight : Number.MAX_VALUE);

/** Differences of about a hundredth are noise: then one that is free comes first, then who got less. */
const inSteps = (ms: number): number => Math.round(100 * Math.log1p(Math.min(ms, Number.MAX_SAFE_INTEGER)));
