/** Parts of the page that are loaded when they are wanted. */
import { AWAY, Refusal } from './service.js';

/** The page is not loaded anew again before this. */
const NOT_BEFORE_MS = 60_000;

/** @type {() => void} */
let keep = () => undefined;

/** Says what keeps what is on the page before it is loaded anew. @param {() => void} own */
export function keepWith(own) {
  keep = own;
}

/** whether the page is being loaded anew: what was on its way fails then */
let isLeaving = false;

/** Loads the page anew, unless that was tried just now. @returns {Promise<never>} */
function loadAnew() {
  if (isLeaving) return new Promise(() => undefined);
  const [{ type }] = /** @type {[PerformanceNavigationTiming]} */ (performance.getEntriesByType('navigation'));
  if (type === 'reload' && performance.now() < NOT_BEFORE_MS)
    throw new Refusal(410, 'A part of the page cannot be loaded. Load the page anew in a minute.');
  isLeaving = true;
  keep();
  location.reload();
  return new Promise(() => undefined);
}

/**
 * A part of the page. Rejects where the service does not answer. A browser may remember by its name that a module could
 * not be fetched, as the HTML standard has it, and Firefox does: where the service answers and the part still does not
 * come, the page is loaded anew.
 *
 * @template T
 * @param {() => Promise<T>} load
 * @returns {Promise<T>}
 */
export const onDemand = (load) =>
  load().catch(async () => {
    const isThere = await fetch('icon.svg', { method: 'HEAD', cache: 'no-store' }).then(
      ({ ok }) => ok,
      () => false,
    );
    if (!isThere) throw new Refusal(0, AWAY);
    return load().catch(loadAnew);
  });
