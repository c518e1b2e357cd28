/**
 * The card with a request as code: that of the picture shown, as it was sent; before there is one, the form's. What
 * writes the code is fetched with the first picture, or when somebody does something.
 *
 * @import { LinkedJob } from '../../src/job/links.ts'
 */

import { byId, element } from '../ground/element.js';
import { onDemand } from '../wire/on-demand.js';
import { announce } from './dock.js';
import { modelNamed, readDraft } from './form.js';

const language = byId('language', HTMLSelectElement);
const code = byId('code', HTMLPreElement);
const copyButton = byId('copy', HTMLButtonElement);
const SAID_MS = 1500;

/** @type {typeof import('./snippets.js') | null} */
let writer = null;
/** @type {LinkedJob | null} */
let shown = null;

function draw() {
  if (!writer) return;
  const body = shown ? writer.shortened(shown.request, modelNamed(shown.model)) : readDraft();
  const place = new URL('.', location.href).href.slice(0, -1);
  code.textContent = writer.LANGUAGES[language.value]?.write(place, body) ?? '';
}

let isFetching = false;
/** Fetches what writes the code, once. */
export async function fetchCode() {
  if (isFetching || writer) return;
  isFetching = true;
  try {
    writer = await onDemand(() => import('./snippets.js'));
    const names = Object.entries(writer.LANGUAGES);
    language.append(...names.map(([value, { name }]) => element('option', { value }, name)));
    draw();
  } catch (error) {
    // the next picture asks again
    code.textContent = /** @type {Error} */ (error).message;
  }
  isFetching = false;
}

/** Shows the code of a job; null: of the form as it stands. @param {LinkedJob | null} job */
export function drawCodeOf(job) {
  shown = job;
  if (job) void fetchCode();
  draw();
}

/** @param {string} word */
function sayOnButton(word) {
  copyButton.textContent = word;
  setTimeout(() => {
    copyButton.textContent = 'Copy';
  }, SAID_MS);
}

async function copyCode() {
  try {
    await navigator.clipboard.writeText(code.textContent ?? '');
    announce('Copied.');
    sayOnButton('Copied');
  } catch {
    // without the permission the text can still be marked and copied by hand
    getSelection()?.selectAllChildren(code);
    announce('Marked; copy it with the keyboard.');
    sayOnButton('Marked');
  }
}

language.onchange = draw;
copyButton.onclick = copyCode;
