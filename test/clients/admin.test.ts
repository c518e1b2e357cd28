/** `npm run admin` as a person runs it, against a running stack. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { createJob, getJob, Refused } from '../../scripts/generate/client.ts';
import { keptPort } from '../../scripts/local/ports.ts';
import { type Door, openDoor, until } from './doors.ts';

const SCRIPT = join(import.meta.dirname, '../../scripts/admin.ts');

let door: Door;
beforeAll(async () => {
  door = await openDoor();
});

const run = (args: readonly string[], adminKey = door.adminKey) =>
  new Promise<{ code: number; stdout: string; stderr: string }>((resolve) =>
    execFile(
      process.execPath,
      [SCRIPT, ...args],
      { env: { ...process.env, RALU_URL: door.service.url, RALU_ADMIN_KEY: adminKey }, timeout: 90_000 },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    ),
  );

/** The answer as JSON of an order that went well. */
async function order<T>(...args: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await run([...args, '--json']);
  if (code !== 0) throw new Error(`admin ${args.join(' ')}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

interface Opened {
  readonly account: { readonly id: string };
  readonly key: { readonly id: string; readonly key: string };
}
interface Key {
  readonly id: string;
  readonly scopes: readonly string[];
  readonly expires_at: number | null;
  readonly revoked_at: number | null;
}

describe('an account’s life', () => {
  test('from its opening to its last picture, in orders and in JSON', async () => {
    const { account, key } = await order<Opened>('open', 'a life', '--concurrent-jobs', '3');
    const { id } = account;
    const as = { url: door.service.url, key: key.key };
    const listed = await order<{ id: string }[]>('accounts');
    expect(listed.map((each) => each.id)).toContain(id);

    // keys: made, replaced, revoked
    const made = await order<Opened['key']>('make-key', id, 'reader', '--scopes', 'read', '--expires-days', '2');
    await expect(createJob({ ...as, key: made.key }, { prompt: 'a red apple' })).rejects.toMatchObject({
      status: 403,
      code: 'insufficient_scope',
    });
    const next = await order<Opened['key']>('rotate-key', id, made.id, '--overlap-hours', '0');
    await order('revoke-key', id, next.id);
    const keys = await order<Key[]>('keys', id);
    expect(keys.map((each) => each.id).toSorted()).toEqual([key.id, made.id, next.id].toSorted());
    const revoked = keys.find((each) => each.id === next.id);
    expect(revoked).toMatchObject({ scopes: ['read'], revoked_at: expect.any(Number) });
    expect(Math.abs((revoked?.expires_at as number) - Date.now() / 1000 - 172_800)).toBeLessThan(600);

    // work: limited, refused, cancelled, taken again
    expect(await order('change', id, '--name', 'renamed', '--images-per-minute', '9')).toMatchObject({
      name: 'renamed',
      limits: { images_per_minute: 9, concurrent_jobs: 3 },
    });
    const job = await createJob(as, { prompt: 'a fox', N: [150], e: [1] });
    await order('suspend', id, '--running', 'cancel');
    await until(as, job.id, 'cancelled');
    await expect(createJob(as, { prompt: 'a fox' })).rejects.toMatchObject({ code: 'account_suspended' });
    await order('resume', id);
    const done = await createJob(as, { prompt: 'a red apple' });
    await until(as, done.id, 'done');

    // gone
    await order('erase', id, '--yes');
    for (const gone of [job.id, done.id]) await expect(getJob(as, gone)).rejects.toBeInstanceOf(Refused);
    const acts = (await order<{ actor: string; act: string }[]>('audit', id)).map(
      ({ actor, act }) => `${actor} ${act}`,
    );
    expect(acts).toEqual([
      'admin account_opened',
      'admin key_made',
      'admin key_rotated',
      'admin key_revoked',
      'admin account_changed',
      'admin account_suspended',
      'admin account_resumed',
      'admin content_erasure_asked',
      'system content_erased',
    ]);
  });

  test('in sentences', async () => {
    const { account, key } = await order<Opened>('open', 'in sentences');
    const said = async (...args: string[]) => (await run(args)).stdout;
    expect(await said('show', account.id)).toMatch(/in sentences\n.*takes work\n60 images a minute/);
    expect(await said('keys', account.id)).toMatch(new RegExp(`^${key.id} .*generate,read,admin  opens`));
    expect(await said('suspend', account.id, '--running', 'finish')).toContain('suspended since');
    expect(await said('accounts')).toContain(account.id);
    expect(await said('audit', account.id)).toContain('account_suspended');
  });
});

test('what the deployment refuses is a sentence and exit code 1', async () => {
  const { code, stdout, stderr } = await run(['show', 'acct_ffffffffffffffff']);
  expect([code, stdout, stderr]).toEqual([1, '', 'admin: There is no account of that id. (404 account_not_found)\n']);
  const wrong = await run(['accounts', '--json'], 'wrong');
  expect([wrong.code, wrong.stderr]).toEqual([1, 'admin: The key is not the admin key. (401 unauthorized)\n']);
  expect(JSON.parse(wrong.stdout)).toMatchObject({ status: 401, code: 'unauthorized' });
});

test('a deployment that is not there is a sentence and exit code 1', async () => {
  const url = `http://127.0.0.1:${await keptPort()}`;
  const { code, stderr } = await run(['accounts', '--url', url]);
  expect([code, stderr]).toEqual([1, `admin: ${url} does not answer (ECONNREFUSED)\n`]);
});
