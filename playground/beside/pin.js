/**
 * The picture that is pinned: it stands beside those that are made next. The tab keeps its id, as it keeps the key, so
 * that it stays through a reload and wherever the back button leads.
 */

const PLACE = 'ralu-pin';

/** @returns {string | null} the job that is pinned */
export const pinnedJob = () => sessionStorage.getItem(PLACE);

/** @param {string} id */
export const isPinned = (id) => pinnedJob() === id;

/** Pins a job in place of the one before. @param {string} id */
export const pin = (id) => sessionStorage.setItem(PLACE, id);

/** Pins none. */
export const unpin = () => sessionStorage.removeItem(PLACE);
