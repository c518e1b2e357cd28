/** An account as stage servers and dispatchers know it. */
import { hmacHex } from './hmac.ts';

/** Hex digits of a tag: enough that no two accounts share one. */
const LENGTH = 32;

/** Tells accounts apart, and says nothing of who one is to whoever lacks the deployment's secret. */
export const accountTag = async (secret: string, account: string): Promise<string> =>
  (await hmacHex(secret, 'account-tag', account)).slice(0, LENGTH);
