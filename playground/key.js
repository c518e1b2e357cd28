/**
 * The API key this tab uses: in sessionStorage, gone when the tab closes. It never stands in a path or a query; on
 * one's own machine it may come in the fragment, which a browser sends to no server, and is taken out of the address at
 * once.
 */

const PLACE = 'ralu-key';
const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]'];

/** Moves a key out of the address. Only on a loopback address: elsewhere a link could slip in somebody else's key. */
export function takeKeyFromAddress() {
  const key = new URLSearchParams(location.hash.slice(1)).get('key');
  if (key === null) return;
  if (LOOPBACK.includes(location.hostname)) sessionStorage.setItem(PLACE, key);
  history.replaceState(null, '', location.pathname);
}

/** @returns {string | null} */
export const storedKey = () => sessionStorage.getItem(PLACE);

/** @param {string} key */
export const keepKey = (key) => sessionStorage.setItem(PLACE, key);

export const forgetKey = () => sessionStorage.removeItem(PLACE);
