/** The settings of a picture taken apart, as AUTOMATIC1111 does it. Pure. */
import { COMMENT } from '../picture/texts.ts';

const NEGATIVE = 'Negative prompt:';
/** Fewer names and values than this make no line of settings: then the last line is part of the prompt. */
const LEAST = 3;
const SIZE = /^(\d+)x(\d+)$/;
/** What a name is made of, and what it begins with. */
const NAME = /[\w \-/]/;
const FIRST = /\w/;

/** A value in quotes without them; as it is where they hold no text of JSON. */
function unquoted(value: string): string {
  if (!value.startsWith('"') || !value.endsWith('"')) return value;
  try {
    const text: unknown = JSON.parse(value);
    return typeof text === 'string' ? text : value;
  } catch {
    return value;
  }
}

/** The place behind a value in quotes that begins at `at`; -1 where no comma or end follows it. */
function afterQuotes(line: string, at: number): number {
  let end = at + 1;
  while (end < line.length && line[end] !== '"') end += line[end] === '\\' ? 2 : 1;
  return end > at + 1 && line[end] === '"' && (end + 1 === line.length || line[end + 1] === ',') ? end + 1 : -1;
}

/** The name that ends at the colon `at`; empty where none does. */
function nameBefore(line: string, at: number, from: number): string {
  let begin = at;
  while (begin > from && NAME.test(line[begin - 1] as string)) begin--;
  while (begin < at && !FIRST.test(line[begin] as string)) begin++;
  return at - begin > 1 ? line.slice(begin, at) : '';
}

/**
 * The names and values of a line of settings, in order: `Steps: 10, Model: "a, b"`. Each character is looked at a few
 * times at most, however odd the line is: it may come from anywhere.
 */
function pairsIn(line: string): readonly (readonly [name: string, value: string])[] {
  const pairs: (readonly [string, string])[] = [];
  for (let from = 0; from < line.length; ) {
    const colon = line.indexOf(':', from);
    if (colon < 0) break;
    const name = nameBefore(line, colon, from);
    if (name === '') {
      from = colon + 1;
      continue;
    }
    let at = colon + 1;
    while (line[at] === ' ') at++;
    const quotesEnd = line[at] === '"' ? afterQuotes(line, at) : -1;
    const comma = line.indexOf(',', at);
    const end = quotesEnd > 0 ? quotesEnd : comma < 0 ? line.length : comma;
    pairs.push([name, unquoted(line.slice(at, end))]);
    from = end + 1;
  }
  return pairs;
}

/**
 * The fields of a picture's settings by their names: `Prompt`, `Negative prompt`, and those of the last line, a size as
 * `Size-1` and `Size-2`. Fields that a text does not have are left out, where A1111 fills in what its own page shows.
 * Law: what `settingsText` wrote comes back.
 */
export function readSettings(text: string): Readonly<Record<string, string>> {
  const lines = text.trim().split('\n');
  const pairs = pairsIn(lines.at(-1) ?? '');
  const isSettings = pairs.length >= LEAST;
  const words = (isSettings ? lines.slice(0, -1) : lines).map((line) => line.trim());
  const at = words.findIndex((line) => line.startsWith(NEGATIVE));
  const negative =
    at < 0
      ? []
      : words.slice(at).map((line) => (line.startsWith(NEGATIVE) ? line.slice(NEGATIVE.length).trim() : line));
  return Object.fromEntries([
    ['Prompt', (at < 0 ? words : words.slice(0, at)).join('\n')],
    ['Negative prompt', negative.join('\n')],
    ...(isSettings ? pairs : []).flatMap(([name, value]) => {
      const [, width, height] = SIZE.exec(value) ?? [];
      return width && height
        ? [[`${name}-1`, width] as const, [`${name}-2`, height] as const]
        : [[name, value] as const];
    }),
  ]);
}

/** What A1111 says of a picture file with these texts: its settings, its other texts, and the settings taken apart. */
export function viewPngInfo(texts: ReadonlyMap<string, string>) {
  const info = texts.get(COMMENT) ?? texts.get('parameters') ?? '';
  return {
    info,
    items: Object.fromEntries([...texts].filter(([name]) => name !== 'parameters')),
    parameters: info === '' ? {} : readSettings(info),
  };
}
