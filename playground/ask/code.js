/**
 * The card with a request as code: that of the picture shown, as it was sent; before there is one, the form's.
 *
 * @import { LinkedJob } from '../../src/job/links.ts'
 * @import { Body } from './snippets.js'
 */

import { byId, element } from '../ground/element.js';
import { announce } from './dock.js';
import { modelNamed, readDraft } from './form.js';
import { LANGUAGES, shortened } from './snippets.js';

const language = byId('language', HTMLSelectElement);
const code = byId('code', HTMLPreElement);
const copyButton = byId('copy', HTMLButtonElement);
const SAID_MS = 1500;

language.append(...Object.entries(LANGUAGES).map(([value, { name }]) => element('option', { value }, name)));

/** @type {Body} */
let shown = {};

function draw() {
  code.textContent = LANGUAGES[language.value]?.write(new URL('.', location.href).href.slice(0, -1), shown) ?? '';
}

/** Shows the code of a job; null: of the form as it stands. @param {LinkedJob | null} job */
export function drawCodeOf(job) {
  shown = job ? shortened(job.request, modelNamed(job.model)) : readDraft();
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
