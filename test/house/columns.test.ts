import { expect, test } from 'vitest';
import { collapseStrings } from './collapse.ts';
import { read, sources } from './sources.ts';

const COLUMNS = 120;
const SCRIPTS = ['.ts', '.js'];

test('no line of code or comment is wider than 120 columns, strings and templates aside', () => {
  const files = [
    ...['src', 'durable-objects', 'containers', 'scripts', 'lab', 'test', 'playground'].flatMap((folder) =>
      sources(folder, [...SCRIPTS, '.py']),
    ),
    'vitest.config.ts',
  ];
  expect(files.length).toBeGreaterThan(100);
  const wide = files.flatMap((path) => {
    const text = read(path);
    const lines = path.endsWith('.py') ? text.split('\n') : collapseStrings(text);
    return lines.flatMap((line, i) => (line.length > COLUMNS ? [`${path}:${i + 1} has ${line.length}`] : []));
  });
  expect(wide).toEqual([]);
});

test('collapsing empties strings and templates, and keeps code, comments, patterns and the number of lines', () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ["say('it\\'s', \"x\");", ['say(\'\', "");']],
    ["// don't touch 'this'\na('b');", ["// don't touch 'this'", "a('');"]],
    ["/* it's\n'long' */ a('b');", ["/* it's", "'long' */ a('');"]],
    ["x = `a\n$_{f('}', `$_{'`'}`)} b`; // c".replaceAll('_', ''), ['x = `', '`; // c']],
    ["x.replace(/['\"`/]/g, 'y');", ["x.replace(/['\"`/]/g, '');"]],
    ["const half = a / 2 / b; say('c');", ["const half = a / 2 / b; say('');"]],
    ["'http://example.com'; b", ["''; b"]],
  ];
  for (const [text, lines] of cases) expect(collapseStrings(text)).toEqual(lines);
});
