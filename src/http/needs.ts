/** What each route asks of a key: the one table that says so. */
import type { ReadKind } from '../account/reads.ts';
import type { Scope } from '../account/scopes.ts';

/**
 * A scope; or `any` key; `own_job`: `generate` for jobs that the key itself started, `admin` for others; `own_key`:
 * `admin`, or the key that it is about; `read_or_link`: `read`, or a signed link; `deployment`: the admin key of the
 * deployment, no account's; `metrics`: that, or the token of the metrics.
 */
export type Need = Scope | 'any' | 'own_job' | 'own_key' | 'read_or_link' | 'deployment' | 'metrics';

/** Routes as the OpenAPI document names them. */
export const NEEDS: Readonly<Record<string, Need>> = {
  'POST /v1/jobs': 'generate',
  'POST /v1/jobs/quote': 'generate',
  'GET /v1/jobs': 'read',
  'GET /v1/jobs/{id}': 'read',
  'GET /v1/jobs/{id}/events': 'read_or_link',
  'GET /v1/jobs/{id}/image': 'read_or_link',
  'GET /v1/jobs/{id}/thumbnail': 'read_or_link',
  'POST /v1/jobs/{id}/cancel': 'own_job',
  'DELETE /v1/jobs/{id}': 'own_job',
  'POST /v1/jobs/{id}/shares': 'own_job',
  'GET /v1/jobs/{id}/shares': 'read',
  'DELETE /v1/jobs/{id}/shares/{share}': 'own_job',
  'GET /v1/models': 'any',
  'GET /v1/models/{id}': 'any',
  'POST /v1/images/generations': 'generate',
  'GET /v1/images/generations/{id}': 'read',
  'GET /openai/v1/models': 'any',
  'GET /openai/v1/models/{id}': 'any',
  'POST /openai/v1/images/generations': 'generate',
  'GET /openai/v1/images/generations/{id}': 'read',
  'POST /openai/deployments/{deployment}/images/generations': 'generate',

  'POST /v1/predictions': 'generate',
  'POST /v1/models/{owner}/{name}/predictions': 'generate',
  'POST /v1/deployments/{owner}/{name}/predictions': 'generate',
  'GET /v1/models/{owner}/{name}': 'any',
  'GET /v1/models/{owner}/{name}/versions': 'any',
  'GET /v1/models/{owner}/{name}/versions/{version}': 'any',
  'GET /v1/deployments/{owner}/{name}': 'any',
  'GET /v1/predictions': 'read',
  'GET /v1/predictions/{id}': 'read',
  'GET /v1/predictions/{id}/stream': 'read_or_link',
  'POST /v1/predictions/{id}/cancel': 'own_job',
  'POST /fal/queue/{owner}/{app}': 'generate',
  'POST /fal/queue/{owner}/{app}/{path}': 'generate',
  'POST /fal/queue/{owner}/{app}/{path}/{more}': 'generate',
  'POST /fal/run/{owner}/{app}': 'generate',
  'POST /fal/run/{owner}/{app}/{path}': 'generate',
  'POST /fal/run/{owner}/{app}/{path}/{more}': 'generate',
  'POST /fal/run/{owner}/{app}/stream': 'generate',
  'POST /fal/run/{owner}/{app}/{path}/stream': 'generate',
  'POST /fal/run/{owner}/{app}/{path}/{more}/stream': 'generate',
  'GET /fal/queue/{owner}/{app}/requests/{id}': 'read',
  'GET /fal/queue/{owner}/{app}/requests/{id}/status': 'read',
  'GET /fal/queue/{owner}/{app}/requests/{id}/status/stream': 'read',
  'PUT /fal/queue/{owner}/{app}/requests/{id}/cancel': 'own_job',
  'POST /bfl/v1/{model}': 'generate',
  'GET /bfl/v1/get_result': 'read',

  'POST /sdapi/v1/txt2img': 'generate',
  'GET /sdapi/v1/progress': 'read',
  // what the key itself has under way
  'POST /sdapi/v1/interrupt': 'own_job',
  'POST /sdapi/v1/options': 'any',
  'GET /sdapi/v1/options': 'any',
  'GET /sdapi/v1/sd-models': 'any',
  'GET /sdapi/v1/samplers': 'any',
  'GET /sdapi/v1/schedulers': 'any',
  'GET /sdapi/v1/upscalers': 'any',
  'POST /sdapi/v1/png-info': 'any',

  'GET /v1/account': 'any',
  'GET /v1/account/keys': 'admin',
  'POST /v1/account/keys': 'admin',
  'POST /v1/account/keys/{key}/rotate': 'admin',
  'DELETE /v1/account/keys/{key}': 'own_key',
  'GET /v1/account/audit': 'admin',
  'GET /v1/account/ledger': 'admin',
  'GET /v1/usage': 'read',
  'GET /v1/webhooks/default/secret': 'admin',
  'POST /v1/webhooks/default/secret': 'admin',

  'GET /v1/fleet': 'deployment',
  'GET /v1/fleet/metrics': 'metrics',
  'GET /v1/accounts': 'deployment',
  'POST /v1/accounts': 'deployment',
  'GET /v1/accounts/{account}': 'deployment',
  'PATCH /v1/accounts/{account}': 'deployment',
  'POST /v1/accounts/{account}/suspend': 'deployment',
  'POST /v1/accounts/{account}/resume': 'deployment',
  'DELETE /v1/accounts/{account}/content': 'deployment',
  'GET /v1/accounts/{account}/audit': 'deployment',
  'GET /v1/accounts/{account}/ledger': 'deployment',
  'POST /v1/accounts/{account}/ledger': 'deployment',
  'GET /v1/accounts/{account}/usage': 'deployment',
  'POST /v1/accounts/{account}/reconcile': 'deployment',
  'GET /v1/accounts/{account}/backup': 'deployment',
  'POST /v1/accounts/{account}/backup': 'deployment',
  'GET /v1/accounts/{account}/keys': 'deployment',
  'POST /v1/accounts/{account}/keys': 'deployment',
  'POST /v1/accounts/{account}/keys/{key}/rotate': 'deployment',
  'DELETE /v1/accounts/{account}/keys/{key}': 'deployment',
};

/**
 * Routes that ask much at once, or are written down for good, and what they count as; every other one that needs `read`
 * is a poll.
 */
const READS: Readonly<Record<string, ReadKind>> = {
  'POST /v1/jobs/quote': 'quotes',
  // a file is taken apart
  'POST /sdapi/v1/png-info': 'polls',
  'POST /v1/jobs/{id}/shares': 'shares',
  'GET /v1/jobs': 'lists',
  'GET /v1/predictions': 'lists',
  'GET /v1/account/audit': 'lists',
  'GET /v1/account/ledger': 'lists',
  'GET /v1/usage': 'lists',
};

/** HEAD is asked as GET, and the image by a file name as the image. */
function routeOf(method: string, path: string): string {
  const named = path.replaceAll(/:(\w+)(?:\{[^}]*\})?/g, '{$1}').replace(/(\/image)\.\w+$/, '$1');
  return `${method === 'HEAD' ? 'GET' : method} ${named}`;
}

/** What a route counts as among the questions of a key; null: it asks nothing that is counted. */
export function readOf(method: string, path: string): ReadKind | null {
  const route = routeOf(method, path);
  const need = NEEDS[route];
  return READS[route] ?? (need === 'read' || need === 'read_or_link' ? 'polls' : null);
}

/** What a route asks, by its method and its path as the router has it. Throws an Error where the table lacks it. */
export function needOf(method: string, path: string): Need {
  const route = routeOf(method, path);
  const need = NEEDS[route];
  if (need === undefined) throw new Error(`no need is known of ${route}`);
  return need;
}

/** Whether a route starts jobs: the account decides about the key in the call that enters them. */
export const startsJobs = (method: string, path: string): boolean =>
  needOf(method, path) === 'generate' && readOf(method, path) === null;

/**
 * The scope that a key lacks for it; null where it lacks none. `isOwn`: the job or key it is about is the key's own.
 */
export function lackedScope(
  need: Exclude<Need, 'deployment' | 'metrics'>,
  scopes: readonly Scope[],
  isOwn: boolean,
): Scope | null {
  const lacks = (scope: Scope): Scope | null => (scopes.includes(scope) ? null : scope);
  switch (need) {
    case 'any':
      return null;
    case 'own_job':
      return isOwn && scopes.includes('generate') ? null : lacks('admin');
    case 'own_key':
      return isOwn ? null : lacks('admin');
    case 'read_or_link':
      return lacks('read');
    case 'generate':
    case 'read':
    case 'admin':
      return lacks(need);
  }
}
