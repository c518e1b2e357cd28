/** Scripts of a prompt that its model does not read, told before anything is computed. Pure. */
import type { ModelFacts } from '../stage/contract.ts';
import type { JobRequest } from './job.ts';

/**
 * Scripts that are named in a warning, by Unicode's property values: those in common use (UAX #31, tables 5 and 7).
 * Letters of any other are told without a name.
 */
const NAMED = (
  'Latin Arabic Armenian Bengali Bopomofo Cyrillic Devanagari Ethiopic Georgian Greek Gujarati Gurmukhi Han Hangul ' +
  'Hebrew Hiragana Kannada Katakana Khmer Lao Malayalam Myanmar Oriya Sinhala Tamil Telugu Thaana Thai Tibetan ' +
  'Balinese Cherokee Canadian_Aboriginal Javanese Mongolian Nko Syriac Tifinagh Yi'
).split(' ');
const OTHER = 'another script';

const classOf = (script: string): string => `\\p{Script=${script}}`;
const NAMED_PATTERNS = NAMED.map((script) => [script, new RegExp(classOf(script), 'u')] as const);
/** A letter of any script but those named, and but those that letters of every script share. */
const OTHER_PATTERN = new RegExp(`[^\\P{L}${['Common', 'Inherited', ...NAMED].map(classOf).join('')}]`, 'u');

/**
 * The scripts of a text that are not among `scripts`, in the order of `NAMED`; last `another script` for letters of a
 * script without a name there, unless `scripts` has such a one too. Digits, accents, punctuation and emoji are of no
 * script. Law: the scripts of a text are those of its parts.
 */
export function unreadScripts(text: string, scripts: readonly string[]): readonly string[] {
  const named = NAMED_PATTERNS.filter(([script, pattern]) => !scripts.includes(script) && pattern.test(text));
  const readsOthers = scripts.some((script) => !NAMED.includes(script));
  return [...named.map(([script]) => script), ...(!readsOthers && OTHER_PATTERN.test(text) ? [OTHER] : [])];
}

/**
 * Sentences about what a model will not read of a request: at most one. None for a model that does not state its
 * scripts.
 */
export function promptWarnings(
  { prompt, negativePrompt }: Pick<JobRequest, 'prompt' | 'negativePrompt'>,
  { id, scripts }: Pick<ModelFacts, 'id' | 'scripts'>,
): readonly string[] {
  if (scripts === null) return [];
  const unread = unreadScripts(`${prompt}\n${negativePrompt}`, scripts);
  return unread.length === 0
    ? []
    : [`${id} reads only ${listed(scripts)}, so it does not read the ${listed(unread)} in the prompt`];
}

/** `Han, Hiragana and Katakana` */
function listed(scripts: readonly string[]): string {
  const names = scripts.map((script) => script.replaceAll('_', ' '));
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}
