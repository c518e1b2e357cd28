/** What one tab tells the others of the same page: that the account's jobs have changed. Never what they are. */

const CHANNEL = 'ralu-jobs';
const channel = new BroadcastChannel(CHANNEL);

/** The list of jobs has changed here. */
export const tellTabs = () => channel.postMessage(null);

/** Calls `listener` when it has changed elsewhere, and when the tab is looked at again. @param {() => void} listener */
export function onChangeElsewhere(listener) {
  channel.onmessage = listener;
  document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && listener());
}
