/**
 * A session as it happens: the events of a job, and when it has ended those of the plain model's beside it. Fetched
 * with the first job.
 *
 * @import { LinkedJob } from '../../src/job/links.ts'
 * @import { Run } from '../session/run.js'
 * @import { Part } from '../session/session.js'
 * @import { Showing } from './showing.js'
 */
import { announce, showAlert } from '../ask/dock.js';
import { askBalance } from '../ask/money.js';
import { isOver } from '../beside/tile.js';
import { jobsChanged } from '../keep/history.js';
import { addressOf, parseAddress } from '../session/address.js';
import { comparisonOf, failureOf, sentenceOf } from '../session/news.js';
import { hasEnded } from '../session/run.js';
import { besideBegins, besideEnds, connected, isBusy, told } from '../session/session.js';
import { cancelJob, createJob, getJob } from '../wire/service.js';
import { watchJob } from '../wire/watch.js';
import { isOpen } from './key-form.js';

/**
 * Follows one job of the session; resolves to its run when it has ended.
 *
 * @param {Showing} showing
 * @param {LinkedJob} job
 * @param {{ part: Part, signal: AbortSignal }} as
 * @returns {Promise<Run>}
 */
const follow = (showing, job, { part, signal }) =>
  new Promise((resolve, reject) => {
    watchJob(job, {
      signal,
      onEvent(event) {
        showing.change((session) => told(session, part, event));
        const { session } = showing;
        if (!session) return;
        const sentence = sentenceOf(session, part, event);
        if (sentence !== '') announce(sentence);
        const run = session[part]?.run;
        if (run && hasEnded(run)) resolve(run);
      },
      onConnection: (connection) => showing.change((session) => connected(session, part, connection)),
      onError: reject,
    });
  });

/**
 * The plain run of the same request. Its key is the watched job's, so that a reload in between does not start a second
 * one. @param {LinkedJob} job
 */
function createPlain({ id, model, prompt, width, height, seed, output_format }) {
  return createJob({ model, prompt, width, height, seed, output_format, preset: 'plain' }, `plain-beside-${id}`);
}

/**
 * The plain model's run, after the job's own: the two would wait for each other in the stage server, and their times
 * would mean nothing.
 *
 * @param {Showing} showing
 * @param {{ job: LinkedJob, beside: string, signal: AbortSignal }} named
 */
async function compare(showing, { job, beside, signal }) {
  const plain = await (beside === 'plain' ? createPlain(job) : getJob(beside));
  if (signal.aborted) return;
  showing.change((session) => besideBegins(session, plain));
  history.replaceState(null, '', addressOf({ ...parseAddress(location.hash), job: job.id, beside: plain.id }));
  // cancelled while it was being started
  if (!isBusy(showing.session)) await cancelJob(plain.id);
  const run = await follow(showing, plain, { part: 'beside', signal });
  void askBalance({ isSettling: true });
  if (signal.aborted || !showing.session) return;
  const failure = failureOf(run);
  if (failure !== null) showAlert(`The plain model: ${failure}`);
  const comparison = comparisonOf(showing.session);
  if (comparison !== null) announce(comparison);
}

/**
 * Follows a session that has begun to its end; `beside` is a job's id, or `plain` where that has yet to be started.
 *
 * @param {Showing} showing
 * @param {{ job: LinkedJob, beside: string | null, signal: AbortSignal }} named
 */
export async function followSession(showing, { job, beside, signal }) {
  const run = await follow(showing, job, { part: 'main', signal });
  void askBalance({ isSettling: true });
  if (signal.aborted) return;
  const failure = failureOf(run);
  // what was said of a job that ended before stays, and why there is no key
  if (failure !== null || (!isOver(job.status) && isOpen())) showAlert(failure);
  if (beside !== null && isBusy(showing.session) && run.status === 'done')
    await compare(showing, { job, beside, signal });
  if (signal.aborted) return;
  showing.change(besideEnds);
  await jobsChanged();
}
