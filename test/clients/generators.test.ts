/** Clients that generators make from the OpenAPI document: they type-check, draw a picture and read the typed job. */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Door, openDoor } from './doors.ts';
import { NO_PYTHON, runPython, runScript } from './python.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../..');
const TYPESCRIPT = join(import.meta.dirname, 'typescript');
const LIMIT = { timeout: 60_000 };

let rig: Door;
let folder: string;
let documentPath: string;
let paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;

beforeAll(async () => {
  rig = await openDoor();
  folder = await mkdtemp(join(tmpdir(), 'ralu-generated-'));
  documentPath = join(folder, 'openapi.json');
  const text = await (await fetch(`${rig.service.url}/openapi.json`)).text();
  await writeFile(documentPath, text);
  paths = JSON.parse(text).paths;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What a generated client must have seen. */
const DRAWN = {
  status: 'done',
  stages: 3,
  ratio: expect.closeTo(7.762, 3),
  usd: expect.stringMatching(/^0\.\d+$/),
  bytes: expect.any(Number),
  png: '89504e470d0a1a0a',
  size: expect.any(Number),
  code: 'job_not_found',
};

test('openapi-typescript: makes a client that type-checks, draws a picture and reads the job', async () => {
  const place = join(folder, 'typescript');
  await mkdir(place);
  for (const name of ['draw.ts', 'tsconfig.json']) await cp(join(TYPESCRIPT, name), join(place, name));
  await writeFile(join(place, 'package.json'), '{"type": "module"}');
  await symlink(join(ROOT, 'node_modules'), join(place, 'node_modules'));
  const generator = join(TYPESCRIPT, 'node_modules/openapi-typescript/bin/cli.js');
  await run(process.execPath, [generator, documentPath, '--output', join(place, 'service.d.ts')], LIMIT);
  await run(join(ROOT, 'node_modules/.bin/tsc'), ['-p', place], LIMIT);
  const { url, key } = rig.service;
  const env = { ...process.env, RALU_URL: url, RALU_API_KEY: key };
  const { stdout } = await run(process.execPath, [join(place, 'draw.ts')], { ...LIMIT, env });
  const drawn = JSON.parse(stdout);
  expect(drawn).toEqual({ ...DRAWN, samplers: ['Euler', 'AB2'], version: expect.any(String) });
  expect(drawn.size).toBe(drawn.bytes);
});

describe.skipIf(NO_PYTHON)('openapi-python-client, where RALU_CLIENTS_PYTHON names a Python that has it', () => {
  test('has every operation, draws a picture and reads the job', async () => {
    const place = join(folder, 'python');
    await mkdir(place);
    const config = join(place, 'config.json');
    await writeFile(config, JSON.stringify({ post_hooks: [] }));
    const output = ['--meta', 'none', '--output-path', join(place, 'ralu_client'), '--config', config];
    const args = ['-m', 'openapi_python_client', 'generate', '--path', documentPath, ...output];
    const written = await runPython(rig.service, { args });
    expect(written.replace(`Generating ${join(place, 'ralu_client')}`, '').trim()).toBe('');
    const operations = Object.values(paths).flatMap(Object.keys);
    const modules = await readdir(join(place, 'ralu_client/api'), { recursive: true });
    const made = modules.filter((name) => name.endsWith('.py') && !name.endsWith('__init__.py'));
    expect(made).toHaveLength(operations.length);
    const [drawn] = await runScript('draw_generated.py', rig.service, { args: [place] });
    expect(drawn).toEqual(DRAWN);
    expect(drawn?.size).toBe(drawn?.bytes);
    // what a strict reader drops it drops silently
    const app = await readFile(join(place, 'ralu_client/api/fal/post_fal_queue_by_owner_by_app.py'), 'utf8');
    expect(app).toContain('owner: str');
  });
});
