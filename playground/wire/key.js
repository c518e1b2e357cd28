/**
 * The API key this tab uses: in sessionStorage, gone when the tab closes. It never stands in a path or a query; on
 * one's own machine it may come in the fragment, which a browser sends to no server. The page loads this file before
 * anything else, so that the key leaves the address and the history at once.
 */

const PLACE = 'ralu-key';
const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]'];
const QUESTION = 'The address brought another key. Use it in this tab, instead of the one in use?';

/** came in the address while another one was in use @type {string | null} */
let offered = null;

/**
 * Moves a key out of the address. Only on a loopback address is it taken: elsewhere a link could slip in somebody
 * else's key. Where another one is in use, `acceptOfferedKey` asks first.
 */
export function takeKeyFromAddress() {
  const key = new URLSearchParams(location.hash.slice(1)).get('key');
  if (key === null) return;
  history.replaceState(null, '', location.pathname);
  if (key === '' || !LOOPBACK.includes(location.hostname)) return;
  const used = storedKey();
  if (used === null) keepKey(key);
  else if (used !== key) offered = key;
}

/** Asks whether a key that came in the address replaces the one in use. Without one it asks nothing. */
export function acceptOfferedKey() {
  const key = offered;
  offered = null;
  if (key === null || !confirm(QUESTION)) return;
  forgetKey();
  keepKey(key);
}

/** @returns {string | null} */
export const storedKey = () => sessionStorage.getItem(PLACE);

/** @param {string} key */
export const keepKey = (key) => sessionStorage.setItem(PLACE, key);

/** The key goes alone: that of the same account may come. */
export const dropKey = () => sessionStorage.removeItem(PLACE);

/** Nothing of an account stays in the tab when its key goes. */
export const forgetKey = () => sessionStorage.clear();

takeKeyFromAddress();
