/** A picture made again from what it says of itself, the way a person does it. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { readLabel } from '../../scripts/generate/label.ts';
import { type Stack, startStack } from '../../scripts/local/stack.ts';
import { startPacedServer } from '../contract/paced-server.ts';
import { startGenerate } from './command.ts';

let folder: string;
let stack: Stack;
/** flags that name the service */
let there: readonly string[];
const ORIGINAL = 'apple.webp';
const path = (name: string): string => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ralu-again-'));
  stack = await startStack({ persistTo: join(folder, 'stack'), bundle: inject('bundle') });
  there = ['--url', stack.url, '--key', stack.key];
  const args = ['ein roter Apfel 苹果', '--size', '256x128', '--enlarge', '448x256', '--seed', '7', '--out', ORIGINAL];
  const { code, stderr } = await startGenerate([...args, ...there], folder).finished;
  expect(code, stderr).toBe(0);
});
afterAll(async () => {
  await stack?.close();
  await rm(folder, { recursive: true, force: true });
});

test('generate --from makes the same bytes from the picture alone', async () => {
  const { code, stdout, stderr } = await startGenerate(['--from', ORIGINAL, '--json', ...there], folder).finished;
  expect(code, stderr).toBe(0);
  const { image, width, height, receipt, again } = JSON.parse(stdout);
  expect({ image, width, height, seed: receipt.seed }).toEqual({
    image: path('apple.again.webp'),
    width: 448,
    height: 256,
    seed: 7,
  });
  expect(again).toEqual({ from: ORIGINAL, same_bytes: true });
  const [one, other] = await Promise.all([ORIGINAL, 'apple.again.webp'].map((name) => readFile(path(name))));
  expect(other?.equals(one as Buffer)).toBe(true);
  expect(await sharp(one).metadata()).toMatchObject({ format: 'webp', width: 448, height: 256 });
  expect((await readLabel(one as Buffer)).parameters).toMatch(
    /^ein roter Apfel 苹果\nSteps: 10, Sampler: Euler, Schedule type: 7x, Seed: 7, Size: 256x128, Enlarged to: 448x256, /,
  );
});

describe.concurrent('a picture that cannot be made again is refused with a sentence', () => {
  const from = async (name: string, bytes: Uint8Array | null, ...args: readonly string[]) => {
    if (bytes) await writeFile(path(name), bytes);
    const { code, stderr } = await startGenerate(['--from', name, ...args], folder).finished;
    expect([code, stderr.split('\n    at ').length]).toEqual([1, 1]);
    return stderr.trim();
  };

  test('where a program took out what it said', async () => {
    const bare = await sharp(path(ORIGINAL)).png().toBuffer();
    expect(await from('bare.png', bare)).toMatch(
      /^generate: bare\.png does not say how it was made: it is not of this/,
    );
  });

  test('where another program made it', async () => {
    const settings = { IFD2: { UserComment: 'a fox\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1' } };
    const theirs = await sharp(path(ORIGINAL)).jpeg().withExif(settings).toBuffer();
    expect(await from('theirs.jpg', theirs)).toMatch(
      /^generate: theirs\.jpg (does not say|has the settings of another)/,
    );
  });

  test('where it is no picture, or not there', async () => {
    expect(await from('text.png', Buffer.from('a fox'))).toBe('generate: text.png is no picture that can be read');
    expect(await from('nowhere.png', null)).toContain('nowhere.png');
  });

  test('where its file is to be of another format', async () => {
    expect(await from(ORIGINAL, null, '--out', 'apple.png')).toBe(
      'generate: apple.webp holds a request for webp; --out must end as such a file does, got "apple.png"',
    );
  });

  test('where the service has another model', async () => {
    const server = await startPacedServer();
    try {
      expect(await from(ORIGINAL, null, '--stage', server.url, '--stage-token', server.token)).toMatch(
        /generate: apple\.webp was made by model [\w-]+, which is not here; there are: closed-form/,
      );
    } finally {
      await server.stop();
    }
  });

  test('where the service has another build of the model', async () => {
    const file = await readFile(path(ORIGINAL), 'latin1');
    const digest = /"model_digest":"([0-9a-f]{64})"/.exec(file)?.[1] as string;
    const other = `f${digest.slice(1)}` === digest ? `e${digest.slice(1)}` : `f${digest.slice(1)}`;
    const changed = Buffer.from(file.replace(digest, other), 'latin1');
    expect(await from('other.webp', changed, ...there)).toMatch(
      new RegExp(`was made by build ${other} .*; here is build ${digest}$`),
    );
  });
});
