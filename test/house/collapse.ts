/**
 * The lines of JavaScript or TypeScript with nothing between the quotes of strings and templates: what is left is code
 * and comments, whose width is the author's choice. A template's expressions go with it.
 */
export function collapseStrings(text: string): string[] {
  let out = '';
  let at = 0;

  /** Skips a template, from after its first backtick to after its last; lines inside stay lines. */
  const skipTemplate = (): void => {
    while (at < text.length && text[at] !== '`') {
      if (text[at] === '\n') out += '\n';
      if (text.startsWith('${', at)) skipExpression();
      else at += text[at] === '\\' ? 2 : 1;
    }
    at++;
  };
  /** Skips `${…}`, strings and templates inside it included. */
  const skipExpression = (): void => {
    at += 2;
    for (let depth = 1; at < text.length && depth > 0; ) {
      const here = text[at]!;
      at++;
      if (here === '\n') out += '\n';
      if (here === '{') depth++;
      else if (here === '}') depth--;
      else if (here === '`') skipTemplate();
      else if (here === "'" || here === '"') skipString(here);
    }
  };
  const skipString = (quote: string): void => {
    while (at < text.length && text[at] !== quote && text[at] !== '\n') at += text[at] === '\\' ? 2 : 1;
    at++;
  };

  const copy = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found === undefined) return false;
    out += found;
    at += found.length;
    return true;
  };
  while (at < text.length) {
    const here = text[at]!;
    if (copy(/\/\/[^\n]*|\/\*[\s\S]*?\*\//y)) continue;
    // a slash after an operator or a bracket begins a pattern, whose quotes are none
    if (
      here === '/' &&
      /(^|[=(,:[!&|?{};>\n]|\breturn)\s*$/.test(out.slice(-99)) &&
      copy(/\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\//y)
    )
      continue;
    at++;
    out += here;
    if (here === '`') skipTemplate();
    else if (here === "'" || here === '"') skipString(here);
    else continue;
    out += here;
  }
  return out.split('\n');
}
