import { cloudflareTest } from '@cloudflare/vitest-plugin';
import { defineConfig } from 'vitest/config';

// the stage server that the worker tests talk to; started once, by the project's global setup
process.env.TEST_STAGE_PORT ??= String(40_000 + (process.pid % 20_000));

export default defineConfig({
  test: {
    // one group after the other: what waits for a real model must not share two cores with another suite
    projects: [
      { test: { name: 'account', include: ['test/account/**/*.test.ts'] } },
      { test: { name: 'job', include: ['test/job/**/*.test.ts'] } },
      { test: { name: 'numerics', include: ['test/numerics/**/*.test.ts'] } },
      { test: { name: 'engine', include: ['test/engine/**/*.test.ts'], testTimeout: 60_000 } },
      { test: { name: 'scripts', include: ['test/scripts/**/*.test.ts'] } },
      { test: { name: 'contract', include: ['test/contract/**/*.test.ts'], testTimeout: 60_000 } },
      { test: { name: 'house', include: ['test/house/**/*.test.ts'] } },
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: './wrangler.toml' },
            miniflare: {
              bindings: {
                SIGNING_SECRET: 'test-signing-secret',
                ADMIN_KEY: 'test-admin-key',
                BACKENDS: JSON.stringify([
                  {
                    id: 'local',
                    url: `http://127.0.0.1:${process.env.TEST_STAGE_PORT}`,
                    region: 'test',
                    models: ['*'],
                  },
                ]),
                BACKEND_TOKEN_LOCAL: 'stage-token',
              },
            },
          }),
        ],
        test: {
          name: 'worker',
          sequence: { groupOrder: 1 },
          include: ['test/worker/**/*.test.ts'],
          globalSetup: ['test/worker/stage-server.ts'],
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'clients',
          sequence: { groupOrder: 2 },
          include: ['test/clients/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'browser',
          sequence: { groupOrder: 4 },
          include: ['test/browser/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'e2e',
          sequence: { groupOrder: 3 },
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
