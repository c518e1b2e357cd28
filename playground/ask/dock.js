/**
 * What is always in sight: what went wrong, what happens now, and the buttons. Sentences for those who listen are told
 * once, by a line that is not seen.
 */
import { byId } from '../ground/element.js';

const generateButton = byId('generate', HTMLButtonElement);
const cancelButton = byId('cancel', HTMLButtonElement);
const againButton = byId('again', HTMLButtonElement);
const alertLine = byId('alert', HTMLParagraphElement);
const statusLine = byId('status', HTMLParagraphElement);
const announcement = byId('announcement', HTMLParagraphElement);

/** Says something to those who listen to the page; the pictures say it to those who look. @param {string} sentence */
export const announce = (sentence) => {
  announcement.textContent = sentence;
};

/** @param {string | null} sentence */
export function showAlert(sentence) {
  alertLine.hidden = sentence === null;
  alertLine.textContent = sentence;
}

/**
 * `isFruitless`: the job shown may be tried again.
 *
 * @param {{ status: string, isBusy: boolean, isFruitless: boolean }} now
 */
export function drawDock({ status, isBusy, isFruitless }) {
  cancelButton.setAttribute('aria-disabled', String(!isBusy));
  generateButton.setAttribute('aria-disabled', String(isBusy));
  const [isCancelHeld, isAgainHeld] = [cancelButton, againButton].map((each) => each === document.activeElement);
  cancelButton.hidden = isFruitless;
  againButton.hidden = !isFruitless;
  // a button that goes leaves the keyboard where one goes on; never on Cancel, where a second press would stop it
  if (isCancelHeld && isFruitless) againButton.focus();
  if (isAgainHeld && !isFruitless) generateButton.focus();
  statusLine.hidden = status === '';
  statusLine.textContent = status;
}

/** A request is on its way, and nothing of it is known yet. */
export const awaitStart = () => generateButton.setAttribute('aria-disabled', 'true');

/** @param {{ onCancel: () => void, onAgain: () => void }} listeners */
export function listenToDock({ onCancel, onAgain }) {
  cancelButton.onclick = onCancel;
  againButton.onclick = onAgain;
}
