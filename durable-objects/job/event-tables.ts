/** The events of a job, in order: 1, 2, 3 … One that cannot be read is left out. Nothing here awaits. */
import type { JobEvent, StoredEvent } from '../../src/job/events.ts';
import { viewPlan } from '../../src/job/plan.ts';
import { parseJson } from './columns.ts';
import { lineStart, type Rows } from './rows.ts';

/** Appends events that happened at `at`, and returns them with their places in the order. */
export const appendEvents = (rows: Rows, events: readonly JobEvent[], at: number): readonly StoredEvent[] =>
  rows.append(events, at);

/** Up to `limit` events after `seq`, in order. */
export function readEvents(rows: Rows, seq: number, limit: number): readonly StoredEvent[] {
  const found: StoredEvent[] = [];
  eachLine(rows, seq, (line, at) => {
    const event = toEvent(rows, line, at);
    if (event) found.push(event);
    return found.length < limit;
  });
  return found;
}

/** The events that are lines of the story, in order: none of the many steps, none of the pictures of stages. */
export function readStory(rows: Rows): readonly StoredEvent[] {
  const skipped = (['queued', 'step', 'preview'] as const).map(lineStart);
  const found: StoredEvent[] = [];
  eachLine(rows, 0, (line, at) => {
    const event = skipped.some((start) => line.startsWith(start)) ? null : toEvent(rows, line, at);
    if (event) found.push(event);
    return true;
  });
  return found;
}

/** The events of these types, in order. */
export function readOfTypes<Type extends JobEvent['type']>(
  rows: Rows,
  types: readonly Type[],
): readonly Extract<StoredEvent, { readonly type: Type }>[] {
  const read = types.map(lineStart);
  const found: StoredEvent[] = [];
  eachLine(rows, 0, (line, at) => {
    const event = read.some((start) => line.startsWith(start)) ? toEvent(rows, line, at) : null;
    if (event) found.push(event);
    return true;
  });
  return found as Extract<StoredEvent, { readonly type: Type }>[];
}

/** The newest event but for pictures, which come behind what the job does meanwhile; undefined before the first. */
export function readLastEvent(rows: Rows): StoredEvent | undefined {
  for (let seq = rows.numEvents(); seq > 0; seq--) {
    const [event] = readEvents(rows, seq - 1, 1);
    if (event?.type !== 'preview') return event;
  }
  return undefined;
}

/** Steps that were heard of, by stage. */
export interface HeardSteps {
  /** of the run that counts: since the stage last began anew, what a crash cut off included */
  readonly counted: ReadonlyMap<number, number>;
  /** of every run together, those that led to nothing too */
  readonly everyRun: ReadonlyMap<number, number>;
}

/** The steps of all stages that were heard of. A stage begins anew after each `retry`. */
export function heardSteps(rows: Rows): HeardSteps {
  const read = (['step', 'retry'] as const).map(lineStart);
  const counted = new Map<number, number>();
  const everyRun = new Map<number, number>();
  eachLine(rows, 0, (line, at) => {
    const event = read.some((start) => line.startsWith(start)) ? toEvent(rows, line, at) : null;
    if (event?.type !== 'step' && event?.type !== 'retry') return true;
    const { stage } = event.data;
    const before = counted.get(stage) ?? 0;
    const now = event.type === 'step' ? Math.max(before, Number(event.data.step) || 0) : 0;
    counted.set(stage, now);
    everyRun.set(stage, (everyRun.get(stage) ?? 0) + Math.max(0, now - before));
    return true;
  });
  return { counted, everyRun };
}

/** Gives `work` every line after `seq` with its place, one row after the other, until it answers false. */
function eachLine(rows: Rows, seq: number, work: (line: string, seq: number) => boolean): void {
  for (let next = seq + 1; ; ) {
    const found = rows.linesAt(next);
    if (!found) return;
    const { from, lines, upTo } = found;
    for (; next < upTo; next++) {
      const line = lines[next - from];
      // a row that cannot be read has fewer lines than events
      if (line !== undefined && !work(line, next)) return;
    }
  }
}

function toEvent(rows: Rows, line: string, seq: number): StoredEvent | null {
  const said = parseJson(line) as { readonly type?: unknown; readonly data?: unknown } | undefined;
  if (typeof said?.type !== 'string' || typeof said.data !== 'object' || said.data === null) return null;
  const event = { ...said, seq } as StoredEvent;
  // an earlier version told less of the plan than there is to tell; the warnings came last
  if (event.type !== 'plan' || event.data.warnings !== undefined) return event;
  const record = rows.record();
  return record && { ...event, data: { ...event.data, ...viewPlan(record.plan, record.request) } };
}
