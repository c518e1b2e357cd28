/**
 * Help with the prompt: what the model knows as words to press, prompts to begin with, the words that it reads emoji
 * as, and a line under what it has not learned.
 *
 * @import { ListedModel } from '../wire/service.js'
 * @import { Asked } from './words.js'
 */
import { byId, element } from '../ground/element.js';
import { insertWord, knownWords, surprise, unknownIn, wholeWords } from './words.js';

const prompt = byId('prompt', HTMLTextAreaElement);
const mirror = byId('mirror', HTMLDivElement);
const unknown = byId('unknown', HTMLParagraphElement);
const spelling = byId('spelling', HTMLDivElement);
const ideas = byId('ideas', HTMLDivElement);
const vocabulary = byId('vocabulary', HTMLDetailsElement);
const words = byId('words', HTMLDivElement);

/** Examples that are shown. */
const MOST_IDEAS = 3;
/** Characters of a prompt that are looked at: nobody reads lines under more. */
const MOST_LOOKED_AT = 2000;
const MOST_NAMED = 5;

/** @type {ReadonlySet<string> | null} */
let known = null;
/** @type {Asked['emoji']} */
let names;
/** reads emoji, once there was one @type {typeof import('./emoji.js') | null} */
let reader = null;
const EMOJI = /\p{Extended_Pictographic}|\p{Regional_Indicator}|\u20e3/u;

/** @param {string} text */
function write(text) {
  prompt.value = text;
  prompt.dispatchEvent(new Event('input', { bubbles: true }));
}

/** @param {string} name @param {() => void} onPress */
const chip = (name, onPress) => element('button', { type: 'button', className: 'chip', onclick: onPress }, name);

/** Offers the words that the model reads emoji as. @param {readonly { emoji: string, name: string | null }[]} found */
function offerSpelling(found) {
  const read = new Map(found.flatMap(({ emoji, name }) => (name === null ? [] : [[emoji, name]])));
  const offered = [...read].slice(0, MOST_NAMED);
  const focused = spelling.contains(document.activeElement);
  spelling.hidden = offered.length === 0;
  spelling.replaceChildren(
    ...offered.map(([emoji, name]) =>
      element(
        'button',
        {
          type: 'button',
          className: 'chip',
          'aria-label': `Write “${name}” in place of ${emoji}`,
          onclick: () => write(reader?.spellOut(prompt.value, emoji, names) ?? prompt.value),
        },
        `${emoji} → ${name}`,
      ),
    ),
  );
  // the one that was pressed is gone
  if (focused) prompt.focus();
}

async function loadReader() {
  reader = await import('./emoji.js').catch(() => null);
  if (reader) mark();
}

/** Marks what the model has not learned, in the text and in a sentence. */
function mark() {
  const text = wholeWords(prompt.value, MOST_LOOKED_AT);
  if (!reader && names && EMOJI.test(text)) void loadReader();
  const emoji = reader?.emojiIn(text, names) ?? [];
  const found = [...unknownIn(text, known), ...emoji.filter(({ name }) => name === null)].sort(
    (one, other) => one.start - other.start,
  );
  offerSpelling(emoji);
  /** @type {(Node | string)[]} */
  const parts = [];
  let at = 0;
  for (const { start, end } of found) {
    parts.push(text.slice(at, start), element('u', {}, text.slice(start, end)));
    at = end;
  }
  mirror.replaceChildren(...parts, text.slice(at));
  const strangers = [...new Set(found.map(({ start, end }) => text.slice(start, end)))];
  const more = strangers.length > MOST_NAMED ? ` and ${strangers.length - MOST_NAMED} more` : '';
  unknown.hidden = strangers.length === 0;
  unknown.textContent = `It does not know: ${strangers.slice(0, MOST_NAMED).join(', ')}${more}.`;
  follow();
}

/** The marks stay with the text that is scrolled. */
const follow = () => {
  mirror.scrollTop = prompt.scrollTop;
};

/** Offers what a model says of prompts. @param {ListedModel} model */
export function offerWords(model) {
  const { examples = [] } = model;
  known = knownWords(model);
  names = model.emoji;
  const canSurprise = examples.length > 0 || model.vocabulary !== undefined;
  ideas.hidden = !canSurprise;
  ideas.replaceChildren(
    ...(canSurprise ? [chip('Surprise me', () => write(surprise(model, Math.random) ?? prompt.value))] : []),
    ...examples.slice(0, MOST_IDEAS).map((example) => chip(example, () => write(example))),
  );
  vocabulary.hidden = !model.vocabulary;
  words.replaceChildren(
    ...Object.entries(model.vocabulary ?? {})
      .filter(([, list]) => list.length > 0)
      .map(([kind, list], index) =>
        element(
          'div',
          { role: 'group', 'aria-labelledby': `words-${index}` },
          element('h3', { id: `words-${index}` }, kind),
          ...list.map((word) =>
            chip(word, () => {
              const at = { start: prompt.selectionStart, end: prompt.selectionEnd };
              const { prompt: text, cursor } = insertWord(prompt.value, at, word);
              write(text);
              prompt.setSelectionRange(cursor, cursor);
            }),
          ),
        ),
      ),
  );
  mark();
}

prompt.addEventListener('input', mark);
prompt.addEventListener('scroll', follow);
new ResizeObserver(follow).observe(prompt);
