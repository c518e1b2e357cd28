/** What went wrong, said where it is in sight, and what the page does about it. */
import { showAlert } from '../ask/dock.js';
import { askBalance, explainUnpaid } from '../ask/money.js';
import { storedKey } from '../wire/key.js';
import { Refusal } from '../wire/service.js';
import { askForKey, focusKey, isKeyAsked } from './key-form.js';

/** @param {unknown} error */
export function showError(error) {
  const isUnknown = error instanceof Refusal && error.status === 401;
  // a key is asked for already, and it is said why
  if (isUnknown && isKeyAsked() && storedKey() === null) return;
  const isUnpaid = error instanceof Refusal && error.status === 402;
  showAlert(isUnpaid ? explainUnpaid(error) : error instanceof Error ? error.message : String(error));
  if (isUnpaid) void askBalance();
  if (!isUnknown) return;
  askForKey();
  // on a phone it is far below what is shown
  focusKey();
}

/** What is wrong just now, and that it is tried again. @param {Error} error */
export const showPassing = ({ message }) => showAlert(`${message} The page keeps trying.`);
