/**
 * What there is to see: a session in pictures, or before the first one the race. What either needs is fetched when it
 * is needed first.
 *
 * @import { Run } from '../session/run.js'
 * @import { Session } from '../session/session.js'
 */
import { showAlert } from '../ask/dock.js';
import { addStyle, byId } from '../ground/element.js';
import { onDemand } from '../wire/on-demand.js';
import { persist } from '../wire/service.js';
import { showPassing } from './trouble.js';

const welcome = byId('welcome', HTMLElement);
/** pictures are waited for as long as the page is there */
const FOR_GOOD = new AbortController().signal;

/** the race, by what stops it @type {Promise<() => void> | null} */
let race = null;
/** @type {((session: Session, played: readonly Run[] | null) => void) | null} */
let drawPictures = null;
let isFetching = false;
/** whether the session that is drawn next was asked for just now */
let isAsked = false;
/**
 * @typedef {object} Listeners
 * @property {() => void} onRedraw what is drawn depends on more than the session
 * @property {() => void} onTry somebody who has seen the race wants a picture of their own
 * @property {(error: unknown) => void} onError what is needed cannot be fetched
 */
/** @type {Listeners} */
let listeners;

/** Shows what there is before a picture is: a race, where there is a recording of one. @param {boolean} isShown */
function showWelcome(isShown) {
  if (welcome.hidden === !isShown && (!isShown || race)) return;
  welcome.hidden = !isShown;
  if (isShown)
    race ??= import('../race/race.js')
      .then(({ showRace }) => showRace(welcome, () => listeners.onTry()))
      // without a recording the words of the page remain
      .catch(() => () => undefined);
  else void race?.then((stop) => stop());
}

async function fetchPictures() {
  isFetching = true;
  let hasTrouble = false;
  const load = () =>
    onDemand(() =>
      Promise.all([import('../show/pictures.js'), ...['style/facts.css', 'style/chart.css'].map(addStyle)]),
    );
  try {
    const [{ makePictures }] = await persist(load, {
      signal: FOR_GOOD,
      onTrouble(error) {
        hasTrouble = true;
        showPassing(error);
      },
    });
    drawPictures = makePictures(() => listeners.onRedraw());
    if (hasTrouble) showAlert(null);
    listeners.onRedraw();
  } catch (error) {
    listeners.onError(error);
  }
}

/**
 * Draws a session; `played` are the runs drawn in place of its own while they are played again.
 *
 * @param {Session | null} session
 * @param {readonly Run[] | null} played
 */
export function drawResults(session, played) {
  // what is there stays until a picture can be drawn: empty cards would say nothing
  if (session && !drawPictures) {
    if (!isFetching) void fetchPictures();
    return;
  }
  showWelcome(session === null);
  for (const [id, isShown] of /** @type {const} */ ([
    ['picture-card', session !== null],
    ['chart-card', session !== null],
    ['numbers-card', session !== null && session.main.run.receipt !== null],
  ]))
    byId(id, HTMLElement).hidden = !isShown;
  if (session) drawPictures?.(session, played);
  // on a phone the form is above the pictures
  if (session && isAsked && matchMedia('(max-width: 900px)').matches) byId('results', HTMLElement).scrollIntoView();
  isAsked = false;
}

/** What is drawn next comes into sight, whatever it takes until then. */
export function bringIntoSight() {
  isAsked = true;
}

/** Says who listens, before anything is drawn. @param {Listeners} own */
export function listenToResults(own) {
  listeners = own;
}
