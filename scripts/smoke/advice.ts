/** What to do about a fault of a deployment, a sentence or two. Pure. */
import type { FailureReason } from '../../src/job/failures.ts';

const TAIL = '`npx wrangler tail` shows the Worker’s log';
const SERVERS = `${TAIL}: a line no_server names each server of BACKENDS and why it cannot be asked (401: its secret BACKEND_TOKEN_<ID> is not the token it was started with). \`npm run smoke -- --stage\` looks at one server by itself.`;

/** What to do where the service says no: its status and code. */
export function adviceForRefusal(status: number, code: string): string {
  switch (code) {
    case 'unauthorized':
    case 'invalid_api_key':
      return 'Send a key of an account of this deployment, by --key or RALU_API_KEY; docs/api.md, "Accounts and keys", says how to open one.';
    case 'insufficient_scope':
      return 'The walk needs a key with the scopes generate and read: npm run admin -- make-key <account> smoke.';
    case 'account_suspended':
      return 'Take another account, or: npm run admin -- resume <account>.';
    case 'too_many_failures':
      return 'This address sent too many wrong keys; wait a minute, then send the right one.';
    case 'not_configured':
      return 'Set what the message names: a secret with npx wrangler secret put <NAME>, PUBLIC_URL in wrangler.toml.';
    case 'no_backend':
      return `BACKENDS is empty, or none of its servers answers. ${SERVERS}`;
    case 'rate_limit':
    case 'too_many_jobs':
      return 'The account is at its limits: wait, or use an account of its own for this.';
    case 'invalid_request':
      return 'The model does not take this: choose another with --model.';
  }
  if (status === 404 || status === 405) return 'Is this the address of the Worker, without a path behind it?';
  if (status >= 500) return `${TAIL}: request_failed, or bad_configuration, which names the variable that is wrong.`;
  return `${TAIL}.`;
}

/** What to do where a job failed for this reason. */
export function adviceForFailure(reason: FailureReason): string {
  switch (reason) {
    case 'no_capacity':
      return `For QUEUE_SECONDS no stage server took the job. ${SERVERS}`;
    case 'gateway':
      return 'A gateway before the stage server answered in its place: no worker was there in time, the worker is gone, or the gateway wants another key (secret_headers of the backend).';
    case 'not_confirmed':
      return `The account did not say that the job may begin. ${TAIL}: account_not_reached.`;
    case 'refused':
      return 'The stage server refused the request: the message has its code. For "unauthorized" the secret BACKEND_TOKEN_<ID> and the token of the server differ, or token_header is wrong.';
    case 'unreachable':
      return 'The Worker could not reach the stage server, or lost it: is the address in BACKENDS reachable from the internet, by HTTPS, and is the server alive?';
    case 'timeout':
      return 'The stage took longer than STAGE_TIMEOUT_SECONDS, or was silent for STAGE_SILENCE_SECONDS: raise them for a gateway that holds requests back while a worker starts.';
    case 'server_error':
    case 'invalid_response':
    case 'model_failed':
    case 'reported':
    case 'orphaned':
    case 'draining':
    case 'not_finite':
    case 'cancelled':
      return 'The stage server’s own log says more; its lines have the job’s id.';
    case 'model_changed':
    case 'engine_changed':
      return 'The servers of BACKENDS have different files or engines: ask GET /v1/models of each, and let one model name mean one build.';
    case 'storage_failed':
      return 'The bucket did not store the image: does the bucket of IMAGES exist (npx wrangler r2 bucket list)?';
    case 'interrupted':
    case 'deadline_exceeded':
    case 'unreadable':
    case 'internal_error':
      return `${TAIL}: lines with the job’s id.`;
  }
}
