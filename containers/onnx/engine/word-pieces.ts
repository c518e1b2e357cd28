/** Words in the pieces of a WordPiece vocabulary, in time linear in the length of the text. Pure. */

/** A letter of a tree of tokens: what may follow it, and the token that ends here. */
interface Node {
  readonly next: Map<string, Node>;
  token: string | undefined;
}

export interface WordPieceModel {
  readonly vocab: Readonly<Record<string, number>>;
  readonly unk_token: string;
  /** what stands before a token that is not the first of its word */
  readonly continuing_subword_prefix: string;
  /** a longer word is unknown */
  readonly max_input_chars_per_word: number;
}

/**
 * A function from words to their tokens: from the start of each word the longest token, then the longest that
 * continues it. A word that has no such tokens, or more than `max_input_chars_per_word` characters, is one unknown
 * token. Law: the tokens are those of `@huggingface/tokenizers`, which copies the rest of the word for every end it
 * tries. Here a letter is read at most as often as the longest token has letters.
 */
export function makeWordPieces(model: WordPieceModel): (words: readonly string[]) => string[] {
  const { unk_token: unknown, continuing_subword_prefix: prefix, max_input_chars_per_word: maxChars } = model;
  const first = newNode();
  const later = newNode();
  for (const token of Object.keys(model.vocab)) {
    plant(first, token, token);
    if (token.startsWith(prefix)) plant(later, token.slice(prefix.length), token);
  }

  function piecesOf(word: string): string[] {
    const letters = [...word];
    const pieces: string[] = [];
    if (letters.length > maxChars) return [unknown];
    for (let start = 0; start < letters.length; ) {
      let node: Node | undefined = start === 0 ? first : later;
      let end = start;
      let longest: string | undefined;
      for (let i = start; i < letters.length; i++) {
        node = node.next.get(letters[i] as string);
        if (node === undefined) break;
        if (node.token === undefined) continue;
        longest = node.token;
        end = i + 1;
      }
      if (longest === undefined) return [unknown];
      pieces.push(longest);
      start = end;
    }
    return pieces;
  }

  return (words) => words.flatMap(piecesOf);
}

const newNode = (): Node => ({ next: new Map(), token: undefined });

function plant(root: Node, letters: string, token: string): void {
  let node = root;
  for (const letter of letters) {
    const next = node.next.get(letter) ?? newNode();
    node.next.set(letter, next);
    node = next;
  }
  // the root itself is no token: a piece has at least one letter
  if (node !== root) node.token = token;
}
