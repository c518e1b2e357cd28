/** What went wrong, said where it is in sight, and what the page does about it. */
import { showAlert } from '../ask/dock.js';
import { askBalance, explainUnpaid } from '../ask/money.js';
import { Refusal } from '../wire/service.js';
import { askForKey } from './key-form.js';

/** @param {unknown} error */
export function showError(error) {
  const isUnpaid = error instanceof Refusal && error.status === 402;
  showAlert(isUnpaid ? explainUnpaid(error) : error instanceof Error ? error.message : String(error));
  if (isUnpaid) void askBalance();
  if (error instanceof Refusal && error.status === 401) askForKey();
}
