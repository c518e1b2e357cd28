import { expect, test } from 'vitest';
import { imports, isIn, namesIn, read, sources } from './sources.ts';

/**
 * The house from the ground up: a room may use any room below it, never one above, and rooms on one floor not each
 * other.
 */
const FLOORS: readonly (readonly string[])[] = [
  ['src/numerics'],
  ['src/stage', 'src/billing', 'src/account', 'src/picture'],
  ['src/fleet'],
  ['src/job'],
  ['src/doors'],
  ['alarm', 'isolate', 'limits', 'migrate'].map((name) => `durable-objects/${name}.ts`),
  ['job', 'account', 'dispatcher'].map((name) => `durable-objects/${name}`),
  ['job', 'account', 'dispatcher', 'directory'].map((name) => `durable-objects/${name}.ts`),
  ['src/http'],
  ['src/app.ts'],
  ['src/index.ts'],
];

/** What the stage server shares with the Worker. */
const SHARED_WITH_CONTAINER = ['src/stage/contract.ts', 'src/stage/safetensors.ts', 'src/numerics'];

/**
 * Around the house: what files of `from` may import besides their own place. The first line that holds a file counts.
 * The product knows nothing of what measures, trains or tests it.
 */
const AROUND: readonly { readonly from: string; readonly may: readonly string[] }[] = [
  { from: 'containers/onnx', may: SHARED_WITH_CONTAINER },
  // these two run the objects' own classes
  { from: 'scripts/soak', may: ['src', 'durable-objects', 'scripts/local/command-line.ts'] },
  { from: 'scripts/bench', may: ['src', 'durable-objects', 'scripts/local', 'containers/onnx'] },
  { from: 'scripts', may: ['src', 'containers/onnx'] },
  { from: 'lab/test', may: ['lab', 'src', 'durable-objects', 'containers', 'scripts', 'test'] },
  { from: 'lab', may: ['src', 'containers/onnx', 'scripts/local', 'scripts/generate/client.ts'] },
  { from: 'test', may: ['src', 'durable-objects', 'containers', 'scripts', 'playground', 'models', 'package.json'] },
];

const WORKER = ['src', 'durable-objects'];
const floorOf = (path: string): number => FLOORS.findIndex((rooms) => rooms.some((room) => isIn(path, room)));
const roomOf = (path: string): string | undefined => FLOORS.flat().find((room) => isIn(path, room));

const allSources = (...folders: readonly string[]): string[] => folders.flatMap((folder) => sources(folder));

/** Imports of `paths` that are not allowed, as `from → to`. */
const wrongArrows = (paths: readonly string[], isAllowed: (path: string, target: string) => boolean): string[] =>
  paths.flatMap((path) =>
    imports(path)
      .filter((target) => !isAllowed(path, target))
      .map((target) => `${path} → ${target}`),
  );

test('every file of the Worker lies in a room of the house', () => {
  const files = allSources(...WORKER);
  expect(files.length).toBeGreaterThan(20);
  expect(files.filter((path) => floorOf(path) < 0)).toEqual([]);
});

test('arrows point down: no file of the Worker imports from a room above or beside its own', () => {
  const isBelow = (path: string, target: string): boolean => floorOf(target) >= 0 && floorOf(target) < floorOf(path);
  expect(
    wrongArrows(allSources(...WORKER), (path, target) => roomOf(target) === roomOf(path) || isBelow(path, target)),
  ).toEqual([]);
});

test.each(AROUND)('$from imports only what it may', ({ from, may }) => {
  const files = sources(from).filter((path) => AROUND.find((place) => isIn(path, place.from))?.from === from);
  expect(files.length).toBeGreaterThan(5);
  expect(wrongArrows(files, (_, target) => [from, ...may].some((place) => isIn(target, place)))).toEqual([]);
});

test('no file imports itself by way of others, types included', () => {
  const graph = new Map(
    [...allSources(...WORKER, 'containers', 'scripts', 'lab', 'test'), ...sources('playground', ['.js'])].map(
      (path) => [path, imports(path)],
    ),
  );
  expect(graph.size).toBeGreaterThan(100);
  expect(cyclesOf(graph)).toEqual([]);
});

test('a cycle is found, and named from its first file', () => {
  const graph = new Map([
    ['a', ['b']],
    ['b', ['c', 'd']],
    ['c', []],
    ['d', ['b', 'a']],
  ]);
  expect(cyclesOf(graph)).toEqual(['b → d → b', 'a → b → d → a']);
  expect(cyclesOf(new Map([['a', ['a']]]))).toEqual(['a → a']);
});

/** One cycle for each arrow that closes one, on a walk in depth from every file. */
function cyclesOf(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  const cycles: string[] = [];
  const walk = (path: string, above: readonly string[]): void => {
    const start = above.indexOf(path);
    if (start >= 0) cycles.push([...above.slice(start), path].join(' → '));
    if (start >= 0 || done.has(path)) return;
    for (const target of graph.get(path) ?? []) walk(target, [...above, path]);
    done.add(path);
  };
  for (const path of graph.keys()) walk(path, []);
  return cycles;
}

test('mathematics never waits: no file in numerics awaits or returns a promise', () => {
  expect(sources('src/numerics').filter((path) => /\b(await|async|Promise)\b/.test(read(path)))).toEqual([]);
});

test('nothing outside models and its script knows which model is embedded', () => {
  const names = namesIn('models');
  expect(names.length).toBeGreaterThan(0);
  expect(
    allSources(...WORKER, 'containers', 'scripts').filter((path) => names.some((name) => read(path).includes(name))),
  ).toEqual([]);
});
