/** The limits a deployment sets for its jobs, read once and checked. */

/** As the configuration has them: numbers written as text. */
export interface LimitVariables {
  readonly JOB_TTL_HOURS: string;
  readonly STAGE_TIMEOUT_SECONDS: string;
  readonly STAGE_SILENCE_SECONDS: string;
  readonly STAGE_ATTEMPTS: string;
  readonly QUEUE_SECONDS: string;
}

export interface Limits {
  readonly timeoutMs: number;
  readonly silenceMs: number;
  readonly attempts: number;
  readonly queueMs: number;
}

const HOUR_MS = 3_600_000;
/** How long an ended job is kept while the deployment's own limit is wrong. */
export const DEFAULT_TTL_MS = 24 * HOUR_MS;

function read(env: LimitVariables, name: keyof LimitVariables, most: number): number {
  const value = Number(env[name]);
  if (!(value > 0 && value <= most))
    throw new Error(`${name} is ${JSON.stringify(env[name])}, expected a number above 0 and at most ${most}`);
  return value;
}

/** How long an ended job is kept. Throws an Error that names the variable. */
export const readTtl = (env: LimitVariables): number => read(env, 'JOB_TTL_HOURS', 24 * 365) * HOUR_MS;

/**
 * The limits of jobs that run. Throws an Error that names the variable: a limit misread as 0 or NaN would end every job
 * or none.
 */
export const readLimits = (env: LimitVariables): Limits => ({
  timeoutMs: read(env, 'STAGE_TIMEOUT_SECONDS', 600) * 1000,
  silenceMs: read(env, 'STAGE_SILENCE_SECONDS', 600) * 1000,
  attempts: Math.ceil(read(env, 'STAGE_ATTEMPTS', 100)),
  queueMs: read(env, 'QUEUE_SECONDS', 24 * 3600) * 1000,
});
