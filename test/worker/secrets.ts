/** The secrets of the Worker under test: as long as the shortest that are taken. */
export const SIGNING_SECRET = 'signs what the tests of ralu ask';
export const ADMIN_KEY = 'opens-accounts-for-tests-of-ralu';
