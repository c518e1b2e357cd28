/**
 * The secrets of a local stack, made at its first start and kept beside its state, so that a key goes on opening what
 * it opened. Readable by their owner only.
 */
import { randomBytes } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface Secrets {
  readonly signingSecret: string;
  readonly adminKey: string;
  /** of the demo account; null until it was opened */
  readonly key: string | null;
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

/**
 * Opens an account through the door that deployments use; resolves to its first key. A laptop sets its own pace: the
 * limits are there, and wide.
 */
export async function openAccount(url: string, adminKey: string, name: string): Promise<string> {
  const response = await fetch(new URL('/v1/accounts', url), {
    method: 'POST',
    headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      name,
      limits: { images_per_minute: 6000, concurrent_jobs: 200, tflops_per_image: 1e9, steps_per_image: 1000 },
    }),
  });
  if (!response.ok)
    throw new Error(`the demo account could not be opened: ${response.status} ${await response.text()}`);
  return ((await response.json()) as { key: { key: string } }).key.key;
}
