/**
 * A text of at most `length` characters (UTF-16 units), and `…` where something is left out. No character of two units
 * is cut in half.
 */
export const cutText = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, length).replace(/[\uD800-\uDBFF]$/, '')}…` : text;
