/**
 * The API as the page uses it. What goes wrong is a `Refusal` whose message is a sentence for people.
 *
 * @import { JobSummary, Quote } from '../../src/job/job.ts'
 * @import { LinkedJob, Links } from '../../src/job/links.ts'
 * @import { ModelFacts } from '../../src/stage/contract.ts'
 */
import { storedKey } from './key.js';

/** @typedef {{ name: string, N: number[], e: number[], r: number[], cache: object | null }} Preset */
/**
 * @typedef {ModelFacts & { presets: Preset[] }} ListedModel a model as `GET /v1/models` lists it: the plain run is its
 * first preset, the default its last
 */

/** @typedef {JobSummary & { links: Links }} ListedJob a job as `GET /v1/jobs` lists it, in short */

/**
 * @typedef {{ billing: { mode: 'prepaid' | 'postpaid', balance_usd: string, held_usd: string, available_usd: string |
 * null, credit_limit_usd: string | null } }} Account of `GET /v1/account` what the page shows
 */

/** An answer that is not what was asked for, or none at all (status 0). */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {string} sentence
   * @param {{ retryMs?: number | undefined, code?: string | undefined }} [more] when it may pass and its name for
   *   programs, where the answer says so
   */
  constructor(status, sentence, { retryMs, code } = {}) {
    super(sentence);
    this.status = status;
    this.retryMs = retryMs;
    this.code = code;
  }

  /** Whether the same may be answered otherwise soon. */
  get isPassing() {
    return [0, 408, 429].includes(this.status) || this.status >= 500;
  }
}

export const AWAY = 'The service does not answer. Are you online, and is it running?';
/** Longest wait for an answer. */
const ANSWER_MS = 60_000;
const AGAIN_MS = 2000;
const LONGEST_AGAIN_MS = 60_000;

/**
 * What `ask` comes to, asked again and again while it only may pass what keeps it; `onTrouble` is told each time.
 *
 * @template T
 * @param {() => Promise<T>} ask
 * @param {{ signal: AbortSignal, onTrouble: (error: Refusal) => void }} options `signal`: nobody waits any more
 * @returns {Promise<T>}
 */
export async function persist(ask, { signal, onTrouble }) {
  while (true)
    try {
      return await ask();
    } catch (error) {
      if (signal.aborted || !(error instanceof Refusal && error.isPassing)) throw error;
      onTrouble(error);
      await new Promise((resolve) => setTimeout(resolve, Math.min(error.retryMs ?? AGAIN_MS, LONGEST_AGAIN_MS)));
      signal.throwIfAborted();
    }
}

/**
 * @param {string} path below the page, which stands where the service does
 * @param {{ method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal }} [request]
 * @returns {Promise<any>} the JSON of the answer; null where it has none
 */
async function call(path, { method = 'GET', body, headers = {}, signal } = {}) {
  const key = storedKey();
  // the service counts tries without one
  if (key === null) throw new Refusal(401, 'The page has no key.');
  const response = await fetch(path, {
    method,
    headers: {
      ...headers,
      authorization: `Bearer ${key}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.any([AbortSignal.timeout(ANSWER_MS), ...(signal ? [signal] : [])]),
  }).catch(() => {
    throw new Refusal(0, AWAY);
  });
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  // problem+json says it in `detail`, the routes that speak OpenAI's language in `error.message`
  const sentence =
    answer?.detail ?? answer?.error?.message ?? `The service answered ${response.status} and said no more.`;
  const retry = response.headers.get('retry-after');
  throw new Refusal(response.status, sentence, {
    retryMs: retry === null ? undefined : Number(retry) * 1000,
    code: answer?.code ?? answer?.error?.code,
  });
}

/** @returns {Promise<ListedModel[]>} each once: other names of a model are entries of the list too */
export const listModels = async () =>
  (await call('v1/models')).data.filter(
    (/** @type {ListedModel & { alias_of: string | null }} */ { alias_of }) => alias_of === null,
  );

/**
 * @param {Record<string, unknown>} body of `POST /v1/jobs`
 * @param {string} idempotencyKey the same key gets the same job
 * @returns {Promise<LinkedJob>}
 */
export const createJob = (body, idempotencyKey) =>
  call('v1/jobs', { method: 'POST', body, headers: { 'idempotency-key': idempotencyKey } });

/** @param {Record<string, unknown>} body of `POST /v1/jobs` @param {AbortSignal} signal @returns {Promise<Quote>} */
export const quoteJob = (body, signal) => call('v1/jobs/quote', { method: 'POST', body, signal });

/** @returns {Promise<Account>} the account of the key */
export const getAccount = () => call('v1/account');

/** @param {string} id @param {AbortSignal} [signal] @returns {Promise<LinkedJob>} */
export const getJob = (id, signal) => call(`v1/jobs/${encodeURIComponent(id)}`, { ...(signal && { signal }) });

/** @param {string} id @returns {Promise<LinkedJob>} */
export const cancelJob = (id) => call(`v1/jobs/${encodeURIComponent(id)}/cancel`, { method: 'POST' });

/** @typedef {{ id: string, url: string, created_at: number, expires_at: number }} Share a link to a picture */

/** @param {string} id @param {number} seconds how long the link opens @returns {Promise<Share>} */
export const shareJob = (id, seconds) =>
  call(`v1/jobs/${encodeURIComponent(id)}/shares`, { method: 'POST', body: { expires_in: seconds } });

/** @param {string} id @returns {Promise<Share[]>} the links that open, oldest first */
export const listShares = async (id) => (await call(`v1/jobs/${encodeURIComponent(id)}/shares`)).data;

/** @param {string} id @param {string} share @returns {Promise<null>} */
export const endShare = (id, share) =>
  call(`v1/jobs/${encodeURIComponent(id)}/shares/${encodeURIComponent(share)}`, { method: 'DELETE' });

/** @param {string} id @returns {Promise<null>} */
export const eraseJob = (id) => call(`v1/jobs/${encodeURIComponent(id)}`, { method: 'DELETE' });

/**
 * @param {string | null} after the `next_cursor` of the page before
 * @returns {Promise<{ data: ListedJob[], has_more: boolean, next_cursor: string | null }>}
 */
export const listJobs = (after) =>
  call(`v1/jobs?limit=12${after === null ? '' : `&after=${encodeURIComponent(after)}`}`);
