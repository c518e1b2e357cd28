import { dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';
import { imports, isIn, read, sources } from './sources.ts';

const PAGE = 'playground';

/** The rooms of the page from the ground up: a room may use any room below it, never one above or beside it. */
const FLOORS: readonly (readonly string[])[] = [
  ['ground'],
  ['session'],
  ['wire'],
  ['ask', 'show'],
  ['race', 'beside', 'keep'],
  ['visit'],
  ['main.js'],
];

/** What no file may name that says it is pure: the page and its window, the network, waiting, clocks and chance. */
const IMPURE = new RegExp(
  `\\b(${[
    ...['document', 'window', 'navigator', 'location', 'history', 'sessionStorage', 'localStorage', 'byId'],
    ...['addEventListener', 'matchMedia', 'requestAnimationFrame', 'fetch', 'EventSource', 'await', 'async'],
    ...['performance', 'setTimeout', 'setInterval', 'Date\\.now', 'new Date\\(\\)', 'Math\\.random'],
  ].join('|')})`,
);

const files = sources(PAGE, ['.js']).filter((path) => !isIn(path, `${PAGE}/reference`));
const floorOf = (path: string): number =>
  FLOORS.findIndex((rooms) => rooms.some((room) => isIn(path, `${PAGE}/${room}`)));
const roomOf = (path: string): string | undefined => FLOORS.flat().find((room) => isIn(path, `${PAGE}/${room}`));

/** A file without its comments, and with that without types. */
const codeOf = (path: string): string => read(path).replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');

/** Files that a module loads before it runs, as paths from the root. */
const loadedBy = (path: string): string[] =>
  [...codeOf(path).matchAll(/from\s+'(\.[^']+)'/g)].map(([, target]) =>
    normalize(join(dirname(path), target as string)),
  );

function allLoadedBy(path: string, known = new Set<string>()): Set<string> {
  for (const target of loadedBy(path)) if (!known.has(target)) allLoadedBy(target, known.add(target));
  return known;
}

const saysPure = (path: string): boolean => /\bpure\b/i.test(/^\/\*\*[\s\S]*?\*\//.exec(read(path))?.[0] ?? '');

test('every file of the page lies in a room, and every room has files', () => {
  expect(files.filter((path) => floorOf(path) < 0)).toEqual([]);
  expect(FLOORS.flat().filter((room) => !files.some((path) => roomOf(path) === room))).toEqual([]);
});

test('arrows of the page point down: no room uses one above or beside it', () => {
  const wrong = files.flatMap((path) =>
    imports(path)
      .filter((target) => isIn(target, PAGE) && roomOf(target) !== roomOf(path) && floorOf(target) >= floorOf(path))
      .map((target) => `${path} → ${target}`),
  );
  expect(wrong).toEqual([]);
});

test('of the service the page has the types alone: nothing that it loads lies outside', () => {
  const outside = files.flatMap((path) =>
    [...codeOf(path).matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)]
      .map(([, target]) => normalize(join(dirname(path), target as string)))
      .filter((target) => !files.includes(target))
      .map((target) => `${path} → ${target}`),
  );
  expect(outside).toEqual([]);
});

test('what says that it is pure touches neither the document nor a clock, and uses only what is pure', () => {
  const pure = files.filter(saysPure);
  expect(pure.length).toBeGreaterThan(12);
  expect(files.filter((path) => isIn(path, `${PAGE}/session`) && !pure.includes(path))).toEqual([]);
  expect(
    pure.flatMap(
      (path) =>
        IMPURE.exec(codeOf(path))
          ?.slice(0, 1)
          .map((word) => `${path}: ${word}`) ?? [],
    ),
  ).toEqual([]);
  expect(
    pure.flatMap((path) =>
      loadedBy(path)
        .filter((target) => !saysPure(target))
        .map((to) => `${path} → ${to}`),
    ),
  ).toEqual([]);
});

test('all that the page needs from the start is asked for at once, and nothing else', () => {
  const html = read(`${PAGE}/index.html`);
  const named = (pattern: RegExp): string[] => [...html.matchAll(pattern)].map(([, path]) => `${PAGE}/${path}`);
  const scripts = named(/<script type="module" src="([^"]+)"/g);
  expect(scripts).toContain(`${PAGE}/main.js`);
  const needed = new Set(scripts.flatMap((path) => [...allLoadedBy(path)]));
  expect(named(/<link rel="modulepreload" href="([^"]+)"/g)).toEqual(
    [...needed].filter((path) => !scripts.includes(path)).toSorted(),
  );
});
