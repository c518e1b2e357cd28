/** The way in: a key, then the models that it may ask for. Where the service is away, it is tried again and again. */
import { showAlert } from '../ask/dock.js';
import { focusPrompt, offerModels, readWork } from '../ask/form.js';
import { askBalance, askPrice } from '../ask/money.js';
import { storedKey } from '../wire/key.js';
import { listModels, persist } from '../wire/service.js';
import { askForKey, hideKeyForm, isKeyAsked, showInside } from './key-form.js';
import { showError, showPassing } from './trouble.js';

let entering = new AbortController();

/**
 * Lets in whoever has a key; `onOpen` is called when a request can be made, `onClosed` where none can yet.
 *
 * @param {{ onOpen: () => void, onClosed: () => void }} listeners
 */
export async function enter(listeners) {
  entering.abort();
  entering = new AbortController();
  const { signal } = entering;
  if (storedKey() === null) {
    askForKey();
    return listeners.onClosed();
  }
  const wasAsked = isKeyAsked();
  hideKeyForm();
  try {
    // a service that is away or has no stage server may come back
    const models = await persist(listModels, {
      signal,
      onTrouble(error) {
        showPassing(error);
        listeners.onClosed();
      },
    });
    if (signal.aborted) return;
    offerModels(models);
  } catch (error) {
    if (signal.aborted) return;
    showError(error);
    return listeners.onClosed();
  }
  showAlert(null);
  showInside(true);
  if (wasAsked) focusPrompt();
  askPrice(readWork());
  void askBalance();
  listeners.onOpen();
}
