/** The statements of one text of SQL. Pure. */

/** Text of one kind: a quoted name or value, a comment, a semicolon, a word, anything else. */
const TOKENS = /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\/|;|\w+|[^\w'";]/g;

/**
 * The statements of a text, without their semicolons. Semicolons in quotes, comments and the body of a trigger separate
 * nothing.
 */
export function statementsOf(sql: string): readonly string[] {
  const statements: string[] = [];
  let text = '';
  let isTrigger = false;
  let depth = 0;
  for (const [token] of sql.matchAll(TOKENS)) {
    const word = token.toUpperCase();
    if (word === 'TRIGGER') isTrigger = true;
    if (isTrigger && (word === 'BEGIN' || word === 'CASE')) depth++;
    if (isTrigger && word === 'END') depth--;
    if (token === ';' && depth === 0) {
      statements.push(text.trim());
      text = '';
      isTrigger = false;
    } else text += token;
  }
  return [...statements, text.trim()].filter((statement) => statement !== '');
}
