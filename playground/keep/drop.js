/**
 * A picture that is dropped, pasted or chosen: the form gets the settings that the picture says it was made with. The
 * file is read here and sent nowhere.
 */

import { restoreForm } from '../ask/restore.js';
import { byId } from '../ground/element.js';
import { onDemand } from '../wire/on-demand.js';
import { Refusal } from '../wire/service.js';

const form = byId('request', HTMLFormElement);
const picker = byId('picture-file', HTMLInputElement);
const found = byId('found', HTMLParagraphElement);

const NO_PICTURE = 'This file is not a PNG, WebP or JPEG picture.';
const SILENT =
  'This picture does not say how it was made. Copying a picture often takes that away: drop the file itself.';

/** @param {number} bytes */
const megabytes = (bytes) => `${Math.ceil(bytes / 2 ** 20)} MB`;

/** Fills the form from a file; the sentence that says what came of it. @param {File} file */
async function restore(file) {
  const { isPicture, MOST_BYTES, readLabel } = await onDemand(() => import('./label.js'));
  if (file.size > MOST_BYTES) return `The file has ${megabytes(file.size)}. At most ${megabytes(MOST_BYTES)} are read.`;
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (!isPicture(bytes)) return NO_PICTURE;
  const request = readLabel(bytes);
  if (!request) return SILENT;
  const missing = restoreForm(request);
  const { preset, width, height, seed } = request;
  const settings = `${preset ?? 'a schedule of its own'}, ${width} × ${height}, seed ${seed}`;
  const without = missing.length === 0 ? '' : ` Not in the form: ${missing.join(', ')}.`;
  return `The form has the settings of ${file.name || 'the picture'}: ${settings}.${without}`;
}

/** @param {File | undefined} file */
async function take(file) {
  if (!file) return;
  found.hidden = false;
  found.textContent = await restore(file).catch((error) =>
    error instanceof Refusal ? error.message : 'The file could not be read.',
  );
}

/** @param {DataTransfer | null} held */
const holdsFiles = (held) => !form.hidden && held !== null && held.types.includes('Files');

/** @param {boolean} is */
const showDropping = (is) => document.body.classList.toggle('dropping', is);

/** Listens to pictures that come from outside the page. */
export function listenToDrops() {
  addEventListener('dragover', (event) => {
    if (!holdsFiles(event.dataTransfer)) return;
    event.preventDefault();
    showDropping(true);
  });
  addEventListener('dragleave', ({ relatedTarget }) => relatedTarget === null && showDropping(false));
  addEventListener('drop', (event) => {
    showDropping(false);
    if (!holdsFiles(event.dataTransfer)) return;
    event.preventDefault();
    void take(event.dataTransfer?.files[0]);
  });
  addEventListener('paste', (event) => {
    const held = event.clipboardData;
    // a table is copied as text and as a picture of it: the text is meant
    if (!holdsFiles(held) || held?.types.includes('text/plain')) return;
    event.preventDefault();
    void take(held?.files[0]);
  });
  // what was said of a file is over when the request becomes another one
  const forget = () => {
    found.hidden = true;
  };
  for (const type of ['input', 'submit']) form.addEventListener(type, forget);
  addEventListener('hashchange', forget);
  byId('choose-picture', HTMLButtonElement).onclick = () => picker.click();
  picker.onchange = () => {
    void take(picker.files?.[0]);
    // the same file may be chosen again
    picker.value = '';
  };
}
