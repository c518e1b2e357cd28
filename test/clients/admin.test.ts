/** `npm run admin` as a person runs it, against a running stack. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cancelJob, createJob, getJob, Refused } from '../../scripts/generate/client.ts';
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
    await order('top-up', id, '1');
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
      'admin money_posted',
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

describe('an account’s money', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ralu-ledger-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('comes in, is spent, given back and taken, and every cent is on the statement', async () => {
    const { account, key } = await order<Opened>('open', 'money', '--usd-per-day', '5', '--billing', 'prepaid');
    const { id } = account;
    const as = { url: door.service.url, key: key.key };
    await expect(createJob(as, { prompt: 'a fox' })).rejects.toMatchObject({
      status: 402,
      code: 'insufficient_credit',
    });
    const top = ['top-up', id, '2', '--id', 'invoice-1', '--reason', 'invoice 1'];
    expect(await order(...top)).toMatchObject({ entry: { seq: 1 }, billing: { balance_usd: '2.000000' } });
    expect(await order(...top)).toMatchObject({ entry: { seq: 1 }, billing: { balance_usd: '2.000000' } });
    const job = await createJob(as, { prompt: 'a red apple', user: 'ann' });
    await until(as, job.id, 'done');
    const usd = (await getJob(as, job.id)).cost?.usd as string;
    await settle(id);
    await order('refund', id, job.id, usd);
    await order('adjust', id, '-0.5');
    const lines = await order<{ kind: string; balance_after_usd: string }[]>('statement', id);
    expect(lines.map(({ kind, balance_after_usd }) => [kind, balance_after_usd])).toEqual([
      ['top_up', '2.000000'],
      ['hold', '2.000000'],
      ['capture', (2 - Number(usd)).toFixed(6)],
      ['refund', '2.000000'],
      ['adjustment', '1.500000'],
    ]);
    const table = (await run(['statement', id, '--csv'])).stdout.trim().split('\r\n');
    expect([table.length, table[1]]).toEqual([6, expect.stringContaining('invoice-1,top_up,2.000000')]);
    expect((await run(['usage', id, '--by', 'user'])).stdout).toMatch(
      new RegExp(`^ann  1 jobs  .* TFLOPs  ${usd} USD\n`),
    );
    expect((await run(['show', id])).stdout).toMatch(
      /prepaid: balance 1\.5.* USD, of that 0\.0* held; 1\.5.* USD left to spend\nmay spend 5\.0* USD a day/,
    );
    const clean = await run(['reconcile', id]);
    expect([clean.code, clean.stdout]).toEqual([0, 'nothing differs; 1 jobs were asked\n']);
  });

  test('is kept in a file, put back into another account, twice the same, and refused where it was edited', async () => {
    const { account, key } = await order<Opened>('open', 'kept');
    const as = { url: door.service.url, key: key.key };
    await order('top-up', account.id, '2');
    const job = await createJob(as, { prompt: 'a red apple', user: 'ann' });
    await until(as, job.id, 'done');
    await settle(account.id);
    const open = await createJob(as, { prompt: 'a fox', N: [150], e: [1] });
    const file = join(folder, 'ledger.jsonl');
    expect(await order('export-ledger', account.id, '--out', file)).toMatchObject({ entries: 4, charges: 2 });
    const twice = await run(['export-ledger', account.id, '--out', file]);
    expect([twice.code, twice.stderr]).toEqual([1, expect.stringContaining('EEXIST')]);

    const { account: other } = await order<Opened>('open', 'put back');
    const restore = (from: string) => run(['restore-ledger', other.id, from, '--yes']);
    expect((await restore(file)).stderr).toContain('409 account_not_suspended');
    await order('suspend', other.id, '--running', 'finish');
    const lines = readFileSync(file, 'utf8').split('\n');
    for (const [name, text, sentence] of [
      ['edited', lines.join('\n').replace('"amount":2000000', '"amount":9000000'), 'its last line does not say'],
      ['cut', lines.slice(0, 4).join('\n'), 'its last line does not say'],
      ['no ledger', 'hello\n', 'line 1 must be a JSON object'],
    ] as const) {
      writeFileSync(join(folder, name), text);
      const refused = await restore(join(folder, name));
      expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining(sentence)]);
    }
    expect(await order('statement', other.id)).toEqual([]);

    const first = await restore(file);
    expect([first.code, first.stdout]).toEqual([0, expect.stringContaining('1 holds were let go')]);
    expect((await restore(file)).stdout).toBe('all of the file is there already; nothing was written\n');
    const [kept, put] = await Promise.all(
      [account.id, other.id].map((id) => order<{ id: string; at: number }[]>('statement', id)),
    );
    expect(put?.slice(0, 4)).toEqual(kept?.slice(0, 4));
    expect((await run(['reconcile', other.id])).code).toBe(0);
    // a ledger that went another way is not mixed with it
    const { account: third } = await order<Opened>('open', 'another');
    await order('top-up', third.id, '3');
    await order('suspend', third.id, '--running', 'finish');
    const mixed = await run(['restore-ledger', third.id, file, '--yes']);
    expect(mixed.stderr).toContain('nothing was written: the account has another entry');
    await cancelJob(as, open.id, 10_000);
  });

  /** Resolves once nothing is held in an account. */
  async function settle(id: string): Promise<void> {
    for (let i = 0; i < 100; i++) {
      const { billing } = await order<{ billing: { held_usd: string } }>('show', id);
      if (billing.held_usd === '0.000000') return;
    }
    throw new Error('a hold was never resolved');
  }
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
