/** schemathesis reads the OpenAPI document and looks for an answer that it does not tell. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, inject, test } from 'vitest';
import { getJob } from '../../scripts/generate/client.ts';
import { startWatchedJob } from '../e2e/rig.ts';
import { NO_PYTHON, runPython } from './python.ts';

/** Requests of an operation. */
const MAX_EXAMPLES = 4;
/** What its jobs may have: a longer one would keep the stage server from the other tests. */
const LIMITS = { images_per_minute: 6000, concurrent_jobs: 20, steps_per_image: 40 };

const CHECKS = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_schema_conformance',
];

/** What the requests are about: things that are there, since ids of nothing count as bad tries. */
interface Known {
  readonly key: string;
  readonly adminKey: string;
  /** of an account that nobody else uses */
  readonly account: string;
  /** a job that has ended, and one that the requests may end */
  readonly job: string;
  readonly doomed: string;
  readonly model: string;
}

const configuration = ({ key, adminKey, account, job, doomed, model }: Known): string => `
headers = { Authorization = "Bearer ${key}" }
parameters = { "path.id" = "${job}", "path.account" = "${account}", "path.key" = "00000000", "path.owner" = "ralu", "path.app" = "${model}", "path.name" = "${model}" }

[generation]
with-security-parameters = false

[[operations]]
include-path-regex = "^/v1/(accounts|fleet)"
headers = { Authorization = "Bearer ${adminKey}" }

# a jurisdiction without a bucket is a fault of the deployment
[[operations]]
include-path = "/v1/accounts"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "503"]

[[operations]]
include-path-regex = "/jobs/.id.$|/cancel$"
include-method = ["DELETE", "POST", "PUT"]
parameters = { "path.id" = "${doomed}" }
`;

/** An account that pays afterwards: its id, and a key. */
async function openAccount(url: string, adminKey: string): Promise<{ readonly id: string; readonly key: string }> {
  const response = await fetch(`${url}/v1/accounts`, {
    method: 'POST',
    headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'schemathesis', limits: LIMITS, billing: { mode: 'postpaid' } }),
  });
  const { account, key } = (await response.json()) as { account: { id: string }; key: { key: string } };
  return { id: account.id, key: key.key };
}

describe.skipIf(NO_PYTHON)('schemathesis, where RALU_CLIENTS_PYTHON names a Python that has it', () => {
  test('finds no status, type or body that the document does not have, and no 5xx', async () => {
    const { url, adminKey } = inject('clientsStack');
    const [caller, victim] = await Promise.all([openAccount(url, adminKey), openAccount(url, adminKey)]);
    const service = { url, key: caller.key };
    const [job, doomed] = await Promise.all(
      [1, 2].map(async () => {
        const { id, events } = await startWatchedJob(service, { prompt: 'a red apple' });
        await events;
        return id;
      }),
    );
    const { model } = await getJob(service, job as string);
    const cwd = await mkdtemp(join(tmpdir(), 'ralu-schemathesis-'));
    try {
      await writeFile(
        join(cwd, 'schemathesis.toml'),
        configuration({
          key: service.key,
          adminKey,
          account: victim.id,
          job: job as string,
          doomed: doomed as string,
          model,
        }),
      );
      const args = ['-m', 'schemathesis.cli', 'run', `${service.url}/openapi.json`];
      const options = {
        phases: 'examples,fuzzing',
        checks: CHECKS.join(','),
        seed: '7',
        'max-examples': String(MAX_EXAMPLES),
        'request-timeout': '20',
        'suppress-health-check': 'all',
        'generation-database': 'none',
      };
      const written = await runPython(service, {
        args: [...args, ...Object.entries(options).map(([name, value]) => `--${name}=${value}`), '--no-shrink'],
        cwd,
        env: { SCHEMATHESIS_HOOKS: join(import.meta.dirname, 'python/schemathesis_hooks.py') },
      });
      expect(written).toMatch(/\d+ passed/);
    } finally {
      await rm(cwd, { recursive: true, force: true });
    }
  });
});
