/** The form for an account's key, and what is there only for those who have one. */
import { showAlert } from '../ask/dock.js';
import { forgetMoney } from '../ask/money.js';
import { byId } from '../ground/element.js';
import { parseAddress } from '../session/address.js';
import { dropKey, forgetKey, keepKey, storedKey } from '../wire/key.js';

const keyForm = byId('key-form', HTMLFormElement);
const keyInput = byId('key', HTMLInputElement);
/** what needs a key; the history shows itself */
const inside = [
  byId('request', HTMLFormElement),
  byId('ask', HTMLDivElement),
  byId('code-card', HTMLElement),
  byId('forget-key', HTMLButtonElement),
];

/** Whether a request can be made. */
export const isOpen = () => storedKey() !== null && !inside.some(({ hidden }) => hidden);

/** Shows what needs a key, or hides it. @param {boolean} isShown */
export function showInside(isShown) {
  for (const part of inside) part.hidden = !isShown;
}

/** Whether the page asks for a key. */
export const isKeyAsked = () => !keyForm.hidden;

/** Takes the form away again: there is a key. */
export function hideKeyForm() {
  keyForm.hidden = true;
}

/** Drops the key that there was, and asks for one. */
export function askForKey() {
  dropKey();
  forgetMoney();
  showInside(false);
  keyForm.hidden = false;
  byId('key-why', HTMLParagraphElement).hidden = parseAddress(location.hash) === null;
  // where the form is below the pictures, the page stays with these
  keyInput.focus({ preventScroll: true });
}

/** Where one writes first who has no key, in sight wherever the page stands. */
export function focusKey() {
  keyInput.focus();
  keyForm.scrollIntoView({ block: 'center' });
}

/** `onForget` is called before the key goes. @param {{ onKey: () => void, onForget: () => void }} listeners */
export function listenToKeyForm({ onKey, onForget }) {
  keyForm.addEventListener('submit', (event) => {
    event.preventDefault();
    const key = keyInput.value.trim();
    if (key === '') return showAlert('Paste a key of an account first.');
    keepKey(key);
    keyInput.value = '';
    onKey();
  });
  byId('forget-key', HTMLButtonElement).onclick = () => {
    showAlert(null);
    onForget();
    byId('history-card', HTMLElement).hidden = true;
    forgetKey();
    askForKey();
  };
}
