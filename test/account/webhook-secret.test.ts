import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { webhookSecret, webhookSecrets } from '../../src/account/webhook-secret.ts';

const SECRETS = { current: 'a secret of thirty-two bytes or more', previous: null };
const at = (generation: number) => ({ generation, isUnderived: false });

test('each account and each replacement has a secret of its own, in the specification’s form', async () => {
  const secrets = await Promise.all([
    webhookSecret(SECRETS, 'acct_1', at(0)),
    webhookSecret(SECRETS, 'acct_1', at(1)),
    webhookSecret(SECRETS, 'acct_2', at(0)),
    webhookSecret(SECRETS, 'acct_1', { generation: 0, isUnderived: true }),
  ]);
  for (const secret of secrets) expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  expect(new Set(secrets).size).toBe(4);
});

test('a secret that receivers already hold stays what it was', async () => {
  const held = createHmac('sha256', SECRETS.current).update('webhook\0acct_1\x000').digest('base64');
  expect(await webhookSecret(SECRETS, 'acct_1', { generation: 0, isUnderived: true })).toBe(`whsec_${held}`);
});

test('while the deployment’s secret is replaced, webhooks are signed with what both give', async () => {
  const next = { current: 'another secret of thirty-two bytes or more', previous: SECRETS.current };
  expect(await webhookSecrets(next, 'acct_1', [at(0)])).toEqual([
    await webhookSecret(next, 'acct_1', at(0)),
    await webhookSecret(SECRETS, 'acct_1', at(0)),
  ]);
});
