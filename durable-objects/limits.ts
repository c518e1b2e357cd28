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
  readonly ttlMs: number;
  readonly timeoutMs: number;
  readonly silenceMs: number;
  readonly attempts: number;
  readonly queueMs: number;
}

/**
 * The limits a deployment sets. Throws an Error that names the variable: a limit misread as 0 or NaN would end every
 * job or none.
 */
export function readLimits(env: LimitVariables): Limits {
  const read = (name: keyof LimitVariables, most: number): number => {
    const value = Number(env[name]);
    if (!(value > 0 && value <= most))
      throw new Error(`${name} is ${JSON.stringify(env[name])}, expected a number above 0 and at most ${most}`);
    return value;
  };
  return {
    ttlMs: read('JOB_TTL_HOURS', 24 * 365) * 3_600_000,
    timeoutMs: read('STAGE_TIMEOUT_SECONDS', 600) * 1000,
    silenceMs: read('STAGE_SILENCE_SECONDS', 600) * 1000,
    attempts: Math.ceil(read('STAGE_ATTEMPTS', 100)),
    queueMs: read('QUEUE_SECONDS', 24 * 3600) * 1000,
  };
}
