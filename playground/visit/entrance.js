/** The way in: a key, then the models that it may ask for. Where the service is away, it is tried again and again. */
import { showAlert } from '../ask/dock.js';
import { focusPrompt, offerModels, readWork } from '../ask/form.js';
import { askBalance, askPrice } from '../ask/money.js';
import { storedKey } from '../wire/key.js';
import { listModels, Refusal } from '../wire/service.js';
import { askForKey, hideKeyForm, isKeyAsked, showInside } from './key-form.js';
import { showError } from './trouble.js';

const RETRY_MS = 5000;
/** @type {number | undefined} */
let retryTimer;

/**
 * Lets in whoever has a key; `onOpen` is called when a request can be made, `onClosed` where none can yet.
 *
 * @param {{ onOpen: () => void, onClosed: () => void }} listeners
 */
export async function enter(listeners) {
  clearTimeout(retryTimer);
  if (storedKey() === null) {
    askForKey();
    return listeners.onClosed();
  }
  const wasAsked = isKeyAsked();
  hideKeyForm();
  try {
    offerModels(await listModels());
  } catch (error) {
    showError(error);
    // a service that is away or has no stage server may come back
    if (error instanceof Refusal && (error.status === 0 || error.status >= 500))
      retryTimer = setTimeout(enter, error.retryMs ?? RETRY_MS, listeners);
    return listeners.onClosed();
  }
  showAlert(null);
  showInside(true);
  if (wasAsked) focusPrompt();
  askPrice(readWork());
  void askBalance();
  listeners.onOpen();
}
