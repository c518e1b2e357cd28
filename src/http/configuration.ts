/** A deployment that is configured wrongly answers nothing but what is wrong. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import { oldFormsUntil } from '../account/old-forms.ts';
import { readTariff } from '../billing/tariff.ts';
import { type Backend, parseBackends } from '../fleet/backends.ts';
import { faultOfStanding, parseRegions } from '../fleet/regions.ts';
import type { AppEnv, Env } from './env.ts';
import { Problem } from './problem.ts';
import { refusePublicUrl } from './public-address.ts';
import { say, speakerOf } from './speakers.ts';

/** A shorter secret can be found by trying: from one link of its own whoever has an account could check each guess. */
const MIN_SECRET_BYTES = 32;

/** Secrets that must not be guessed. */
const STRONG = ['SIGNING_SECRET', 'SIGNING_SECRET_PREVIOUS', 'ADMIN_KEY', 'METRICS_TOKEN'] as const;

const isShort = (secret: string | undefined): boolean =>
  !!secret && new TextEncoder().encode(secret).length < MIN_SECRET_BYTES;

/** What is wrong with a tariff; null where nothing is. */
function faultOfTariff(text: string): string | null {
  try {
    readTariff(text);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

type Placing = Partial<Pick<Env, 'REGIONS' | 'BACKENDS'>>;

/** What is wrong with regions, or with where backends say they stand; null where nothing is. */
function faultOfRegions({ REGIONS, BACKENDS = '[]' }: Placing): string | null {
  if (!REGIONS) return null;
  try {
    const regions = parseRegions(REGIONS);
    return faultOfStanding(regions, backendsOf(BACKENDS));
  } catch (error) {
    return (error as Error).message;
  }
}

/** The backends; none where the list cannot be read, which the routes that need it say themselves. */
function backendsOf(text: string): readonly Backend[] {
  try {
    return parseBackends(text);
  } catch {
    return [];
  }
}

/** Addresses to which secrets go: over TLS, unless it is one's own machine. */
const PRIVATE_CALLS = ['EVENTS_URL', 'STRIPE_API_URL', 'DEMAND_URL'] as const;
const LOOPBACK = ['localhost', '127.0.0.1', '[::1]'];

function isSafe(text: string | undefined): boolean {
  if (!text) return true;
  const url = URL.parse(text);
  if (!url || url.username || url.password || url.hash) return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.includes(url.hostname));
}

/** Variables that are one of few words; absent, or empty, is the first. */
const CHOICES = { ENLARGE: ['aliases', 'off'], METADATA: ['on', 'off'] } as const satisfies Partial<
  Record<keyof Env, readonly string[]>
>;
const CHOSEN = Object.keys(CHOICES) as (keyof typeof CHOICES)[];

/** All that is looked at. */
type Configuration = Placing &
  Pick<
    Env,
    | (typeof STRONG)[number]
    | (typeof PRIVATE_CALLS)[number]
    | keyof typeof CHOICES
    | 'PUBLIC_URL'
    | 'OLD_KEYS_UNTIL'
    | 'TARIFF'
    | 'EVENTS'
  >;

/**
 * What is wrong with a configuration, in a sentence that names it and tells no secret; null where nothing is. A secret
 * that is not there is refused where it is needed.
 */
export function configurationFault(env: Configuration): string | null {
  const short = STRONG.find((name) => isShort(env[name]));
  if (short) return `The secret ${short} of this deployment is too short: it needs ${MIN_SECRET_BYTES} bytes.`;
  if (oldFormsUntil(env.OLD_KEYS_UNTIL) === null)
    return 'The OLD_KEYS_UNTIL of this deployment must be a date such as 2026-12-31, or empty.';
  const tariffFault = faultOfTariff(env.TARIFF);
  if (tariffFault !== null) return `The TARIFF of this deployment ${tariffFault}.`;
  const regionsFault = faultOfRegions(env);
  if (regionsFault !== null) return `The REGIONS of this deployment do not hold: ${regionsFault}.`;
  const unsafe = PRIVATE_CALLS.find((name) => !isSafe(env[name]));
  if (unsafe) return `The ${unsafe} of this deployment must be an https address without a name, password or fragment.`;
  const unclear = CHOSEN.find((name) => env[name] && !CHOICES[name].some((choice) => choice === env[name]));
  if (unclear) return `The ${unclear} of this deployment must be ${CHOICES[unclear].join(' or ')}.`;
  if (env.EVENTS && env.EVENTS_URL)
    return 'This deployment has both EVENTS_URL and a queue EVENTS: events go to one of them.';
  const rule = refusePublicUrl(env.PUBLIC_URL);
  return rule && `The PUBLIC_URL of this deployment ${rule}.`;
}

/** Everything that needs a configuration. */
const DOORS = ['/v1/*', '/fal/*', '/openai/*', '/sdapi/*', '/bfl/*'];

/**
 * Answers 503 `not_configured` everywhere under these prefixes, in the shape of each door, while the configuration is
 * wrong.
 */
export function refuseWrongConfiguration(app: OpenAPIHono<AppEnv>): void {
  // a configuration is looked at once: an isolate sees another only in tests
  let seen: { readonly text: string; readonly fault: string | null } | null = null;
  const faultOf = (env: Env): string | null => {
    const { PUBLIC_URL, OLD_KEYS_UNTIL, TARIFF, EVENTS, REGIONS, BACKENDS } = env;
    const values = [...[...STRONG, ...PRIVATE_CALLS, ...CHOSEN].map((name) => env[name]), EVENTS ? 'a queue' : null];
    const text = JSON.stringify([values, PUBLIC_URL, OLD_KEYS_UNTIL, TARIFF, REGIONS, BACKENDS]);
    if (seen?.text !== text) seen = { text, fault: configurationFault(env) };
    return seen.fault;
  };
  for (const doors of DOORS)
    app.use(doors, async (c, next) => {
      const detail = faultOf(c.env);
      if (detail === null) return next();
      return say(
        c,
        new Problem({ status: 503, code: 'not_configured', detail }),
        speakerOf(app, [c.req.method], c.req.path),
      );
    });
}
