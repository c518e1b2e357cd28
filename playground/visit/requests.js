/**
 * From the person to the service: jobs are started, tried again and cancelled.
 *
 * @import { Visit } from './toolbox.js'
 */
import { awaitStart, showAlert } from '../ask/dock.js';
import { readForm } from '../ask/form.js';
import { askBalance } from '../ask/money.js';
import { pinnedJob } from '../beside/pin.js';
import { addressOf, parseAddress } from '../session/address.js';
import { hasEnded } from '../session/run.js';
import { besideEnds, isBusy, isFruitless } from '../session/session.js';
import { cancelJob, createJob } from '../wire/service.js';
import { bringIntoSight } from './results.js';
import { showError } from './trouble.js';

/** whether jobs are being started and not shown yet: a second press does not start them twice */
let isStarting = false;
/** the job that was started last: until it is shown, nobody knows that it runs @type {string | null} */
let startedLast = null;

/** Whether something of what is shown still runs, here or beside it. @param {Visit} visit */
export const isAnyBusy = ({ showing, toolbox }) => isBusy(showing.session) || toolbox.isGroupBusy();

/** a request that was not answered well, and its name @type {{ request: string, name: string } | null} */
let unheard = null;

/**
 * The ids of the jobs that were started, one by one, and what kept the rest from it.
 *
 * @param {readonly Record<string, unknown>[]} bodies
 */
async function createAll(bodies) {
  const request = JSON.stringify(bodies);
  // pressed again, the same jobs are meant
  const name = unheard?.request === request ? unheard.name : crypto.getRandomValues(new Uint32Array(4)).join('-');
  unheard = { request, name };
  /** @type {string[]} */
  const started = [];
  try {
    for (const [i, body] of bodies.entries()) started.push((await createJob(body, `${name}-${i}`)).id);
  } catch (error) {
    return { started, error };
  }
  unheard = null;
  return { started, error: null };
}

/**
 * Starts jobs and shows the first, with the others and the one that is pinned beside it.
 *
 * @param {Visit} visit
 * @param {{ bodies: readonly Record<string, unknown>[], isCompared: boolean }} request
 */
async function start({ showing }, { bodies, isCompared }) {
  if (isStarting) return;
  isStarting = true;
  showAlert(null);
  awaitStart();
  // fetched meanwhile; who needs it says what is wrong
  import('./follow.js').catch(() => undefined);
  const { started, error } = await createAll(bodies);
  const [job] = started;
  if (job !== undefined) {
    startedLast = job;
    void askBalance();
    const isShown = new Promise((resolve) => addEventListener('hashchange', resolve, { once: true }));
    const pinned = pinnedJob();
    const group = [...(pinned === null ? [] : [pinned]), ...started];
    // the address is what is shown; it tells the rest of the page
    location.hash = addressOf({ job, beside: isCompared ? 'plain' : null, group });
    await isShown;
    bringIntoSight();
  }
  isStarting = false;
  if (error !== null) showError(error);
  showing.redraw();
}

/** Whether the page waits for the job that it has just started. @param {Visit} visit */
const isOnItsWay = ({ showing }) => showing.isAwaited && parseAddress(location.hash)?.job === startedLast;

/** Starts what the form asks for. @param {Visit} visit */
export async function generate(visit) {
  if (isAnyBusy(visit) || isOnItsWay(visit)) return;
  const read = readForm();
  if ('sentence' in read) return showAlert(read.sentence);
  await start(visit, read);
}

/**
 * The request of the job shown once more, as it was sent; of several, those that came to no picture. @param {Visit}
 * visit
 */
export async function tryAgain(visit) {
  const { session } = visit.showing;
  if (!session || !isFruitless(session) || isAnyBusy(visit)) return;
  const beside = visit.toolbox.fruitlessJobs();
  const jobs = beside.length > 0 ? beside : [session.main.job];
  await start(visit, {
    bodies: jobs.map(({ request }) => ({ ...request })),
    isCompared: parseAddress(location.hash)?.beside != null,
  });
}

/** jobs that are cancelled or being so: each is asked for once @type {Set<string>} */
const cancelled = new Set();

/** @param {string} id */
async function cancelOnce(id) {
  if (cancelled.has(id)) return;
  cancelled.add(id);
  try {
    await cancelJob(id);
  } catch (error) {
    cancelled.delete(id);
    throw error;
  }
}

/** Cancels all that runs of what is shown. @param {Visit} visit */
export async function cancel(visit) {
  const { showing, toolbox } = visit;
  const { session } = showing;
  if (!session || !isAnyBusy(visit)) return;
  const running = [session.main, session.beside].flatMap((watched) =>
    watched && !hasEnded(watched.run) ? [watched.job.id] : [],
  );
  showing.change(besideEnds);
  if (running.length === 0)
    history.replaceState(
      null,
      '',
      addressOf({ ...parseAddress(location.hash), job: session.main.job.id, beside: null }),
    );
  // the one that is shown large stands beside the others too; one that cannot be cancelled keeps no other from it
  const ends = await Promise.allSettled([...running, ...toolbox.runningJobs()].map(cancelOnce));
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed) showError(failed.reason);
  else showAlert(null);
  showing.redraw();
}
