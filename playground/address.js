/**
 * What the page shows, as its address says it: `#job_…`, with `+job_…` for the plain run beside it, or `+plain` where
 * that has yet to be started.
 */

/** @typedef {{ job: string, beside: string | null }} Shown `beside` is a job's id or `plain` */

/** @param {string} hash @returns {Shown | null} */
export function parseAddress(hash) {
  const [, job, beside] = /^#(job_[0-9a-z]{32,64})(?:\+(job_[0-9a-z]{32,64}|plain))?$/.exec(hash) ?? [];
  return job === undefined ? null : { job, beside: beside ?? null };
}

/** @param {Shown} shown */
export const addressOf = ({ job, beside }) => `#${job}${beside === null ? '' : `+${beside}`}`;
