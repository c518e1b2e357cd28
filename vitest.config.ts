import { join } from 'node:path';
import { cloudflareTest } from '@cloudflare/vitest-plugin';
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';
import { LongestFirst } from './test/longest-first.ts';
import { STAGE_TOKEN } from './test/worker/stage-server.ts';

/**
 * The groups run one after the other: what is cheap and broad first, so that a mistake shows within a minute. Each has
 * as many test files at once as two cores carry.
 */
const GROUPS = {
  pure: { maxWorkers: 2, isolate: false, sequence: { groupOrder: 1 } },
  models: { maxWorkers: 2, sequence: { groupOrder: 2 } },
  worker: { maxWorkers: 3, sequence: { groupOrder: 3 } },
  // these wait for processes to start and for faults to pass, more than they compute
  stacks: { maxWorkers: 4, sequence: { groupOrder: 4 } },
  crowds: { maxWorkers: 7, sequence: { groupOrder: 5 } },
  // what the others found
  last: { maxWorkers: 1, sequence: { groupOrder: 6 } },
} as const;

/** A project in Node: the tests of the folder of its name. */
const project = (
  name: string,
  group: keyof typeof GROUPS,
  { env, ...options }: NonNullable<TestProjectInlineConfiguration['test']> = {},
): TestProjectInlineConfiguration => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    env: { NODE_COMPILE_CACHE, ...env },
    ...GROUPS[group],
    ...options,
  },
});

/** Tests start a hundred processes of the same code: they read it compiled. */
const NODE_COMPILE_CACHE = join(import.meta.dirname, 'node_modules/.cache/compiled');

/** Threads of several engines that wait awake would take the cores from one another. */
const ONE_THREAD = { STAGE_THREADS: '1' };

// each test file of the Worker has the next of the stage servers
let files = 0;

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      project('numerics', 'pure'),
      project('account', 'pure'),
      project('fleet', 'pure', { exclude: ['test/fleet/crowd/**'] }),
      project('job', 'pure'),
      project('doors', 'pure'),
      project('page', 'pure'),
      project('scripts', 'pure'),
      // the objects' own classes run in Node there
      project('billing', 'pure', {
        alias: { 'cloudflare:workers': join(import.meta.dirname, 'scripts/soak/workers.ts') },
        testTimeout: 60_000,
      }),
      project('house', 'pure'),
      project('engine', 'models', { testTimeout: 60_000 }),
      project('contract', 'models', { testTimeout: 60_000 }),
      {
        plugins: [
          cloudflareTest(({ inject }) => {
            const urls = inject('stageUrls');
            const url = urls[files++ % urls.length];
            return {
              wrangler: { configPath: './wrangler.toml' },
              miniflare: {
                // the bucket of accounts that stay in the EU; a deployment has it where it has such accounts
                r2Buckets: { IMAGES_EU: 'ralu-images-eu' },
                bindings: {
                  SIGNING_SECRET: 'test-signing-secret-with-32-bytes-or-more',
                  ADMIN_KEY: 'test-admin-key-with-32-bytes-or-more',
                  // jobs that a test leaves behind hold slots: no test waits for those of another
                  BACKENDS: JSON.stringify([{ id: 'local', url, region: 'test', models: ['*'], slots: 64 }]),
                  QUEUE_SECONDS: '86400',
                  BACKEND_TOKEN_LOCAL: STAGE_TOKEN,
                },
              },
            };
          }),
        ],
        test: {
          ...GROUPS.worker,
          name: 'worker',
          include: ['test/worker/**/*.test.ts'],
          globalSetup: ['test/worker/stage-server.ts'],
          testTimeout: 60_000,
        },
      },
      project('clients', 'stacks', {
        globalSetup: ['test/e2e/bundle.ts', 'test/clients/stack.ts'],
        setupFiles: ['test/clients/record.ts'],
        testTimeout: 120_000,
        hookTimeout: 120_000,
      }),
      project('e2e', 'stacks', {
        globalSetup: ['test/e2e/bundle.ts'],
        // commands and stacks at once in one file
        maxConcurrency: 2,
        env: ONE_THREAD,
        testTimeout: 300_000,
        hookTimeout: 120_000,
      }),
      // whole fleets, last and by themselves: what they measure is their own
      project('crowd', 'crowds', {
        include: ['test/fleet/crowd/**/*.test.ts'],
        globalSetup: ['test/e2e/bundle.ts'],
        testTimeout: 300_000,
        hookTimeout: 120_000,
      }),
      project('ran', 'last'),
      project('browser', 'stacks', {
        globalSetup: ['test/e2e/bundle.ts'],
        env: ONE_THREAD,
        testTimeout: 300_000,
        hookTimeout: 300_000,
      }),
    ],
  },
});
