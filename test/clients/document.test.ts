/** What is written about the service is true: the OpenAPI document is one, and the examples run as they stand. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Validator } from '@seriousme/openapi-schema-validator';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startWatchedJob } from '../e2e/rig.ts';
import { type Door, openDoor } from './doors.ts';

const ROOT = join(import.meta.dirname, '../..');
const run = promisify(execFile);

let rig: Door;
/** where an example runs: it has the packages, and keeps what the example writes */
let folder: string;
/** what the examples read: where and who, and a finished job that the last of them erases */
let given: Record<string, string>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ralu-examples-'));
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  rig = await openDoor();
  const { id, events } = await startWatchedJob(rig.service, { prompt: 'a red apple' });
  await events;
  given = { RALU_URL: rig.service.url, RALU_API_KEY: rig.service.key, RALU_ADMIN_KEY: rig.adminKey, ID: id };
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('the document is valid OpenAPI 3.1', async () => {
  const document = (await (await fetch(`${rig.service.url}/openapi.json`)).json()) as Record<string, unknown>;
  expect(document.openapi).toBe('3.1.0');
  expect(await new Validator().validate(document)).toMatchObject({ valid: true });
});

const examples = ['README.md', 'docs/clients.md', 'docs/api.md'].flatMap((file) => {
  const blocks = [...readFileSync(join(ROOT, file), 'utf8').matchAll(/```(js|sh)\n([\s\S]*?)```/g)];
  return blocks
    .filter(([, language, code]) => language === 'js' || code?.includes('$RALU_URL'))
    .map(
      ([, language, code], i) =>
        [`${file}, ${language} block ${i + 1}`, language as 'js' | 'sh', code as string] as const,
    );
});

test('there are examples', () => expect(examples.length).toBeGreaterThan(5));

test.each(examples)('%s', async (_, language, code) => {
  const env = { ...process.env, ...given };
  const options = { cwd: folder, env, timeout: 60_000 };
  const { stdout } = await (language === 'js'
    ? run(process.execPath, ['--input-type=module', '--eval', code], options)
    : run('bash', ['-ec', code.replaceAll('curl ', 'curl --fail -w done ')], options));
  expect(stdout.trim()).not.toBe('');
});
