import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

/**
 * The house from the ground up: a room may use any room below it, never one above, and rooms on one floor not each
 * other.
 */
const FLOORS: readonly (readonly string[])[] = [
  ['src/numerics'],
  ['src/stage', 'src/billing', 'src/account'],
  ['src/job'],
  ['src/doors'],
  ['durable-objects'],
  ['src/http'],
  ['src/app.ts'],
  ['src/index.ts'],
];

/** What the stage server shares with the Worker; package.json only for its version. */
const SHARED_WITH_CONTAINER = ['package.json', 'src/stage/contract.ts', 'src/stage/safetensors.ts', 'src/numerics/'];

const floorOf = (path: string): number =>
  FLOORS.findIndex((rooms) => rooms.some((room) => path === room || path.startsWith(`${room}/`)));
const roomOf = (path: string): string | undefined =>
  FLOORS.flat().find((room) => path === room || path.startsWith(`${room}/`));

function sources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name));
}

/** Relative imports of a file, as paths from the root. */
function imports(path: string): string[] {
  const text = readFileSync(join(ROOT, path), 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(([, target]) =>
    relative(ROOT, normalize(join(ROOT, dirname(path), target as string))),
  );
}

test('every file of the Worker lies in a room of the house', () => {
  const files = [...sources('src'), ...sources('durable-objects')];
  expect(files.length).toBeGreaterThan(20);
  expect(files.filter((path) => floorOf(path) < 0)).toEqual([]);
});

test('arrows point down: no file of the Worker imports from a room above or beside its own', () => {
  const wrong = [...sources('src'), ...sources('durable-objects')].flatMap((path) =>
    imports(path)
      .filter((target) => roomOf(target) !== roomOf(path) && !(floorOf(target) >= 0 && floorOf(target) < floorOf(path)))
      .map((target) => `${path} → ${target}`),
  );
  expect(wrong).toEqual([]);
});

test('the stage server shares the contract, the format and the mathematics with the Worker, and nothing else', () => {
  const wrong = sources('container').flatMap((path) =>
    imports(path)
      .filter(
        (target) =>
          !target.startsWith('containers/onnx/') && !SHARED_WITH_CONTAINER.some((shared) => target.startsWith(shared)),
      )
      .map((target) => `${path} → ${target}`),
  );
  expect(wrong).toEqual([]);
});

test('mathematics never waits: no file in numerics awaits or returns a promise', () => {
  expect(
    sources('src/numerics').filter((path) => /\b(await|async|Promise)\b/.test(readFileSync(join(ROOT, path), 'utf8'))),
  ).toEqual([]);
});

test('nothing outside models and its script knows which model is embedded', () => {
  const names = readdirSync(join(ROOT, 'models'));
  expect(names.length).toBeGreaterThan(0);
  const sourcesThatMustNotKnow = [
    ...sources('src'),
    ...sources('durable-objects'),
    ...sources('container'),
    ...sources('scripts'),
  ];
  expect(
    sourcesThatMustNotKnow.filter((path) =>
      names.some((name) => readFileSync(join(ROOT, path), 'utf8').includes(name)),
    ),
  ).toEqual([]);
});
