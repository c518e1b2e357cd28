/** Emoji of a text as their names. Pure. */
import { z } from 'zod';

/** Most emoji of a table, longest emoji and longest name, characters. */
const MAX_EMOJI = 8192;
const MAX_SEQUENCE = 64;
const MAX_NAME = 100;

/**
 * A file of names: emoji to name. An emoji stands without skin tones, and without U+FE0F unless it is one only where
 * that follows, as an arrow is.
 */
export const emojiNames = z
  .record(z.string().min(1).max(MAX_SEQUENCE), z.string().min(1).max(MAX_NAME))
  .refine((names) => Object.keys(names).length <= MAX_EMOJI, `must have at most ${MAX_EMOJI} emoji`);
export type EmojiNames = z.infer<typeof emojiNames>;

/** The words of a text, in small letters. */
const wordsOf = (text: string): readonly string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

/** Those names that are made of words of these phrases alone, whichever phrases the words come from. */
export function namesWithin(names: EmojiNames, phrases: readonly string[]): EmojiNames {
  const known = new Set(phrases.flatMap(wordsOf));
  const isKnown = (name: string): boolean => {
    const words = wordsOf(name);
    return words.length > 0 && words.every((word) => known.has(word));
  };
  return Object.fromEntries(Object.entries(names).filter(([, name]) => isKnown(name)));
}

/** How an emoji is drawn: as text or picture, and the tone of a skin. */
const STYLE = /^[\u{fe0e}\u{fe0f}\u{1f3fb}-\u{1f3ff}]$/u;
/** What only joins emoji, or goes on with one: a joiner, a style, the letters of a flag's region. */
const JOINT = /^[\u{200d}\u{fe0e}\u{fe0f}\u{1f3fb}-\u{1f3ff}\u{e0020}-\u{e007f}]$/u;
/** All but spaces and punctuation: what a name may not touch. */
const WORD = /^[^\s\p{P}]$/u;

/** A character of a tree of emoji: what may follow it, and the name of the emoji that ends here. */
interface Node {
  readonly next: Map<string, Node>;
  name: string | undefined;
}

/**
 * A function from a text to the text with names for emoji, each a word of its own. Of two emoji that begin alike the
 * longer is read, and a joined one that has no name as its parts. Styles and skin tones are not read. An emoji without
 * a name stays. Laws: a text without emoji stays as it is; the time is linear, since a character is read at most as
 * often as the longest emoji has characters.
 */
export function makeReadEmoji(names: EmojiNames): (text: string) => string {
  const root: Node = { next: new Map(), name: undefined };
  for (const [emoji, name] of Object.entries(names)) plant(root, emoji, name);

  /** the longest emoji that begins at `start`: its name, and where it ends */
  function emojiAt(points: readonly string[], start: number): { name: string; end: number } | null {
    let node = root;
    let found: { name: string; end: number } | null = null;
    for (let i = start; i < points.length; i++) {
      const point = points[i] as string;
      const next: Node | undefined = node.next.get(point);
      if (!next && i > start && STYLE.test(point)) continue;
      if (!next) break;
      node = next;
      if (node.name !== undefined) found = { name: node.name, end: i + 1 };
    }
    return found;
  }

  return (text) => {
    const points = [...text];
    const parts: string[] = [];
    // a name is parted from what it would touch on either side
    let isAfterName = false;
    let isAfterWord = false;
    for (let i = 0; i < points.length; ) {
      const found = emojiAt(points, i);
      if (!found) {
        const point = points[i] as string;
        const isWord = WORD.test(point);
        parts.push(isAfterName && isWord ? ` ${point}` : point);
        isAfterName = false;
        isAfterWord = isWord;
        i++;
        continue;
      }
      parts.push(isAfterName || isAfterWord ? ` ${found.name}` : found.name);
      isAfterName = true;
      i = found.end;
      while (i < points.length && JOINT.test(points[i] as string)) i++;
    }
    return parts.join('');
  };
}

function plant(root: Node, emoji: string, name: string): void {
  let node = root;
  for (const point of emoji) {
    const next = node.next.get(point) ?? { next: new Map(), name: undefined };
    node.next.set(point, next);
    node = next;
  }
  node.name = name;
}
