/**
 * What the page shows, as its address says it: `#job_…`, with `+job_…` for the plain run beside it, or `+plain` where
 * that has yet to be started, and with `~job_…,job_…` for all that stand side by side. Pure.
 */

/**
 * @typedef {{ job: string, beside: string | null, group: readonly string[] }} Shown `beside` is a job's id or `plain`;
 *   `group` is empty where the job stands alone
 */

/** Most jobs that stand side by side: each preset, and one that is kept. */
export const MOST_IN_GROUP = 9;
const ID = 'job_[0-9a-z]{32,64}';
const FORM = new RegExp(`^#(${ID})(?:\\+(${ID}|plain))?(?:~(${ID}(?:,${ID}){1,${MOST_IN_GROUP - 1}}))?$`);

/** @param {string} hash @returns {Shown | null} */
export function parseAddress(hash) {
  const [, job, beside, group] = FORM.exec(hash) ?? [];
  return job === undefined ? null : { job, beside: beside ?? null, group: group?.split(',') ?? [] };
}

/**
 * The address without a job that is erased: of the first that stood beside it, or empty where it stood alone.
 *
 * @param {Shown} shown
 * @param {string} erased
 */
export function addressWithout({ job, beside, group }, erased) {
  const left = group.filter((id) => id !== erased);
  const [first] = left;
  if (job !== erased) return addressOf({ job, beside: beside === erased ? null : beside, group: left });
  return first === undefined ? '' : addressOf({ job: first, group: left });
}

/** @param {{ job: string, beside?: string | null, group?: readonly string[] }} shown */
export const addressOf = ({ job, beside = null, group = [] }) =>
  `#${job}${beside === null ? '' : `+${beside}`}${group.length < 2 ? '' : `~${group.join(',')}`}`;
