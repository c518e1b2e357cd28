/** Rows of a table of a deployed model: what of a job differs between them. Pure. */
import { UsageError, wholeNumber } from '../../../scripts/local/command-line.ts';

export interface DeployedRow {
  /** as it is typed; the name of its folder */
  readonly id: string;
  /** fields of `POST /v1/jobs` */
  readonly body: Readonly<Record<string, unknown>>;
}

const MOST_STEPS = 1000;

/** The row of a name: `plain-<n>` is the plain model in n steps, any other a preset of the model. Throws UsageError. */
export function parseRow(id: string): DeployedRow {
  const steps = /^plain-(\d+)$/.exec(id)?.[1];
  if (steps !== undefined)
    return { id, body: { N: [wholeNumber('--rows: plain-<n>', steps, { min: 1, max: MOST_STEPS })], e: [1] } };
  if (!/^[a-z0-9][a-z0-9.-]{0,62}$/i.test(id))
    throw new UsageError(`--rows: a row has 1 to 63 letters, digits, dots and dashes, got "${id}"`);
  return { id, body: { preset: id } };
}
