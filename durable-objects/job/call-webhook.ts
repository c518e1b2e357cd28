/** One call of a caller's own server. */
import { addressesOf, bflSignature, isPrivateAddress, webhookHeaders } from '../../src/job/webhook.ts';

/** How long that server may take to answer. */
const TIMEOUT_MS = 15_000;

export interface WebhookCall {
  readonly url: string;
  /** the same at every try */
  readonly id: string;
  readonly body: string;
  /** what it is signed with */
  readonly secrets: readonly string[];
  /** the caller's own, which signs beside them; undefined: there is none */
  readonly ownSecret: string | undefined;
  /** DNS over HTTPS, asked where the name leads; empty: it may lead anywhere */
  readonly resolver: string;
  /** ends the call */
  readonly signal: AbortSignal;
}

/** The status of the answer; null where there is none in time, or the name leads, in part, into a private network. */
export async function callWebhook({
  url,
  id,
  body,
  secrets,
  ownSecret,
  resolver,
  signal: given,
}: WebhookCall): Promise<number | null> {
  const signal = AbortSignal.any([given, AbortSignal.timeout(TIMEOUT_MS)]);
  try {
    if (resolver !== '') {
      const addresses = await addressesOf(new URL(url).hostname, resolver, fetch, signal);
      if (addresses.length === 0 || addresses.some(isPrivateAddress)) return null;
    }
    const headers = {
      ...webhookHeaders(secrets, id, Math.floor(Date.now() / 1000), body),
      ...(ownSecret !== undefined && (await bflSignature(ownSecret, body))),
    };
    // a redirect could lead anywhere, so none is followed: it is a failed try
    const response = await fetch(url, { method: 'POST', headers, body, redirect: 'manual', signal });
    // the status decides, however the rest of the answer ends
    await response.body?.cancel().catch(() => {});
    return response.status;
  } catch {
    // unreachable or silent: tried again
    return null;
  }
}
