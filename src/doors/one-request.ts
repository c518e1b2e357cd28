/**
 * The jobs of one request as one: what is shown at doors whose requests have one id and may ask for several images.
 * Pure.
 */
import type { CostView } from '../billing/charge.ts';
import type { Receipt } from '../billing/receipt.ts';
import { sumCosts } from '../billing/sum-costs.ts';
import { hasEnded, type JobFailure, type JobView } from '../job/job.ts';
import type { LinkedJob } from '../job/links.ts';
import type { LogLine } from '../job/log-lines.ts';

/** A job with its story so far. */
export interface ToldJob {
  readonly job: LinkedJob;
  readonly logs: readonly LogLine[];
}

/** A line of the story of a request, and the image it is about: 0 is the first. */
export interface RequestLine extends LogLine {
  readonly image: number;
}

/** A request as it stands. */
export interface OneRequest {
  /** that of its first job */
  readonly id: string;
  /** ended once all jobs have: failed where one has, else cancelled where one was */
  readonly status: JobView['status'];
  readonly first: LinkedJob;
  /** in the order of the images */
  readonly jobs: readonly LinkedJob[];
  /** of all jobs by time; of several each says which image it is about */
  readonly logs: readonly RequestLine[];
  readonly cost: CostView | null;
  readonly warnings: readonly string[];
  /** why the first failed that did */
  readonly error: JobFailure | null;
  /** of the jobs that have ended */
  readonly receipts: readonly Receipt[];
  /** when the first stage began, milliseconds since 1970 */
  readonly startedAt: number | null;
  /** when the last job ended, Unix seconds */
  readonly finishedAt: number | null;
  /** the first job's place, while none has got out of the line */
  readonly queue: JobView['queue'];
  /** whether pictures are handed over as data */
  readonly isInline: boolean;
}

/** Ids of all jobs that a job speaks for: those of its request where it is the first, else its own alone. */
export const jobsOf = ({ id, batch }: Pick<JobView, 'id' | 'batch'>): readonly string[] =>
  batch && batch.jobs[0] === id ? batch.jobs : [id];

/** Whether a job is part of a request that another one speaks for. */
export const isSpokenFor = ({ id, batch }: Pick<JobView, 'id' | 'batch'>): boolean =>
  batch !== undefined && batch.jobs[0] !== id;

/** The request of these jobs. Law: of one job it says what the job says. */
export function asOne(told: readonly [ToldJob, ...ToldJob[]]): OneRequest {
  const [{ job: first }] = told;
  const jobs = told.map(({ job }) => job);
  const isOver = jobs.every(hasEnded);
  const waiting = jobs.filter(({ queue }) => queue !== null);
  return {
    id: first.id,
    status: statusOf(jobs),
    first,
    jobs,
    logs: logsOf(told),
    cost: sumCosts(jobs.map(({ cost }) => cost)),
    warnings: [...new Set(jobs.flatMap(({ receipt, plan }) => receipt?.warnings ?? plan.warnings))],
    error: jobs.find(({ error }) => error !== null)?.error ?? null,
    receipts: jobs.map(({ receipt }) => receipt).filter((receipt) => receipt !== null),
    startedAt: earliest(told.map(({ logs }) => logs.find(({ message }) => message.startsWith('stage '))?.at ?? null)),
    finishedAt: isOver ? Math.max(...jobs.map(({ finished_at }) => finished_at ?? 0)) : null,
    queue: waiting.length === jobs.length ? (waiting[0]?.queue ?? null) : null,
    isInline: first.batch?.inline ?? false,
  };
}

function statusOf(jobs: readonly JobView[]): JobView['status'] {
  const has = (status: JobView['status']): boolean => jobs.some((job) => job.status === status);
  if (!jobs.every(hasEnded)) return jobs.every(({ status }) => status === 'queued') ? 'queued' : 'running';
  if (has('failed')) return 'failed';
  return has('cancelled') ? 'cancelled' : 'done';
}

function logsOf(told: readonly ToldJob[]): readonly RequestLine[] {
  const named = (message: string, image: number): string =>
    told.length === 1 ? message : `image ${image + 1}: ${message}`;
  return told
    .flatMap(({ logs }, image) => logs.map((line) => ({ ...line, message: named(line.message, image), image })))
    .toSorted((a, b) => a.at - b.at);
}

/** How many lines there are of each image. */
export const linesOf = ({ jobs, logs }: Pick<OneRequest, 'jobs' | 'logs'>): readonly number[] =>
  jobs.map((_, image) => logs.filter((line) => line.image === image).length);

/**
 * The lines after the first so many of each image. The clocks of two jobs may differ, so a line may come behind one
 * that is later: none is left out, or there twice.
 */
export function linesAfter(logs: readonly RequestLine[], seen: readonly number[]): readonly RequestLine[] {
  const passed: number[] = [];
  return logs.filter(({ image }) => {
    passed[image] = (passed[image] ?? 0) + 1;
    return (passed[image] ?? 0) > (seen[image] ?? 0);
  });
}

function earliest(times: readonly (number | null)[]): number | null {
  const known = times.filter((time) => time !== null);
  return known.length > 0 ? Math.min(...known) : null;
}
