/**
 * The secrets of a local stack, made at its first start and kept beside its state, so that a key goes on opening what
 * it opened. Readable by their owner only.
 */
import { randomBytes } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { oldFormsUntil } from '../../src/account/old-forms.ts';

export interface Secrets {
  readonly signingSecret: string;
  readonly adminKey: string;
  /** of the demo account; null until it was opened */
  readonly key: string | null;
  /** the day until whose end a key of the first form opens; absent where the demo account never had one */
  readonly oldKeysUntil?: string;
}

const SECRET_BYTES = 24;
export const secret = (): string => randomBytes(SECRET_BYTES).toString('base64url');

const fileIn = (folder: string): string => join(folder, 'secrets.json');

/** Throws where the file is there and cannot be read: new secrets would shut out every key. */
export async function loadSecrets(folder: string): Promise<Secrets> {
  const text = await readFile(fileIn(folder), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    return null;
  });
  if (text !== null) return JSON.parse(text) as Secrets;
  const secrets: Secrets = { signingSecret: secret(), adminKey: secret(), key: null };
  await saveSecrets(folder, secrets);
  return secrets;
}

export async function saveSecrets(folder: string, secrets: Secrets): Promise<void> {
  const file = fileIn(folder);
  await writeFile(`${file}.part`, `${JSON.stringify(secrets)}\n`, { mode: 0o600 });
  await rename(`${file}.part`, file);
}

/** How long an update leaves a key of the first form, as for deployments. */
const OLD_KEYS_MS = 30 * 86_400_000;

const isOldKey = (key: string): boolean => /^ralu_[0-9a-f]{24}_/.test(key);

/** The secrets; those with a key of the first form say until when it opens, from the first start on that takes MACs. */
export function withOldKeys(secrets: Secrets, now: number): Secrets {
  if (secrets.key === null || !isOldKey(secrets.key) || secrets.oldKeysUntil !== undefined) return secrets;
  return { ...secrets, oldKeysUntil: new Date(now + OLD_KEYS_MS).toISOString().slice(0, 10) };
}

/** Whether the demo account needs a new key: the kept one has the first form, and its time is over. */
export const isKeyOver = ({ key, oldKeysUntil }: Secrets, now: number): boolean =>
  key !== null && isOldKey(key) && oldKeysUntil !== undefined && now >= (oldFormsUntil(oldKeysUntil) ?? 0);

/** The account that is asked about is not there. */
const GONE = 404;

/** A deployment and its admin key. */
interface Admin {
  readonly url: string;
  readonly adminKey: string;
}

/** Asks through the door that deployments use. Throws an Error with what the answer says. */
async function askAsAdmin(
  { url, adminKey }: Admin,
  path: string,
  body: object | null,
  method = 'POST',
): Promise<{ readonly status: number; readonly body: unknown }> {
  const response = await fetch(new URL(path, url), {
    method,
    headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  });
  if (!response.ok && response.status !== GONE)
    throw new Error(`the account could not be opened: ${response.status} ${await response.text()}`);
  return { status: response.status, body: await response.json() };
}

/** What an account of tests may spend: as good as without end. */
const PLENTY_USD = '10000';
/** What the demo account may spend, once. */
const DEMO_USD = '10';
const DEMO_CREDIT = 'demo-credit';

/**
 * Opens a prepaid account with credit; resolves to its first key. A laptop sets its own pace: the limits are there, and
 * wide.
 */
export async function openAccount(url: string, adminKey: string, name: string): Promise<string> {
  const key = await open({ url, adminKey }, name);
  await postTopUp({ url, adminKey }, key, { id: 'credit', amount_usd: PLENTY_USD, reason: 'to spend in tests' });
  return key;
}

async function open(admin: Admin, name: string): Promise<string> {
  const limits = { images_per_minute: 6000, concurrent_jobs: 200, tflops_per_image: 1e9, steps_per_image: 1000 };
  const { body } = await askAsAdmin(admin, '/v1/accounts', { name, limits, billing: { mode: 'prepaid' } });
  return (body as { key: { key: string } }).key.key;
}

/** Posts credit to the account of a key, unless it was there already. */
const postTopUp = async (
  admin: Admin,
  key: string,
  credit: { readonly id: string; readonly amount_usd: string; readonly reason: string },
): Promise<void> =>
  void (await askAsAdmin(admin, `/v1/accounts/${accountIn(key)}/ledger`, { ...credit, kind: 'top_up' }));

/** The key of the demo account, with its credit: given once, also to one opened before there were prices. */
export async function openDemo(url: string, adminKey: string, kept: string | null): Promise<string> {
  const admin = { url, adminKey };
  const key = kept ?? (await open(admin, 'demo'));
  const reason = 'to try it out';
  const path = `/v1/accounts/${accountIn(key)}`;
  const { status, body } = await askAsAdmin(admin, path, null, 'GET');
  // its state was removed, and its key was not
  if (status === GONE && kept !== null) return openDemo(url, adminKey, null);
  if ((body as { billing: { mode: string } }).billing.mode !== 'prepaid')
    await askAsAdmin(admin, path, { billing: { mode: 'prepaid' } }, 'PATCH');
  await postTopUp(admin, key, { id: DEMO_CREDIT, amount_usd: DEMO_USD, reason });
  return key;
}

/** The account that a key of any form names. */
const accountIn = (key: string): string =>
  `acct_${/^ralu_(?:2[a-z]{4})?([0-9a-f]{16})[0-9a-f]{8}_/.exec(key)?.[1] ?? ''}`;

/** Another key of the account that a key of the first form names. */
export async function replaceKey(url: string, adminKey: string, old: string): Promise<string> {
  const path = `/v1/accounts/${accountIn(old)}/keys`;
  const { body } = await askAsAdmin({ url, adminKey }, path, { name: 'demo' });
  return (body as { key: string }).key;
}
