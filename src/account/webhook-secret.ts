/**
 * What an account's webhooks are signed with: `whsec_` and base64, as Standard Webhooks has it. Derived, never stored.
 */
import { encodeBase64 } from 'hono/utils/encode';
import { allOf, hmacBytes, type Secrets, underivedHmac } from './hmac.ts';

/** Which of an account's secrets: a replaced one has the number before. */
export interface WebhookGeneration {
  readonly generation: number;
  /** made before purposes had keys of their own; receivers hold it until it is replaced */
  readonly isUnderived: boolean;
}

async function secretOf(
  signingSecret: string,
  account: string,
  { generation, isUnderived }: WebhookGeneration,
): Promise<string> {
  const text = `${account}\0${generation}`;
  return `whsec_${encodeBase64(await (isUnderived ? underivedHmac : hmacBytes)(signingSecret, 'webhook', text))}`;
}

/** The secret that a receiver is given. */
export const webhookSecret = ({ current }: Secrets, account: string, generation: WebhookGeneration): Promise<string> =>
  secretOf(current, account, generation);

/**
 * All that a webhook is signed with: a receiver knows one of them. While the deployment's secret is being replaced that
 * includes what the previous one gives, since receivers cannot all change at once.
 */
export const webhookSecrets = (
  secrets: Secrets,
  account: string,
  generations: readonly WebhookGeneration[],
): Promise<readonly string[]> =>
  Promise.all(
    generations.flatMap((generation) => allOf(secrets).map((secret) => secretOf(secret, account, generation))),
  );
