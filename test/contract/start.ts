/** The stage server in this process, on a free port. */
import { createStageServer, type StageApp, type StageServerOptions } from '../../containers/onnx/app.ts';
import { type Listening, listen } from '../../containers/onnx/listen.ts';
import type { Model } from '../../containers/onnx/model.ts';
import type { Started } from './conformance.ts';

export const TEST_TOKEN = 'a token for tests';

export async function startServer(
  models: readonly Model[] | Promise<readonly Model[]>,
  options: Partial<StageServerOptions> = {},
): Promise<Started & { server: StageApp; listening: Listening; logged: Record<string, unknown>[] }> {
  const logged: Record<string, unknown>[] = [];
  const server = createStageServer({
    models,
    token: TEST_TOKEN,
    options: { log: (entry) => logged.push({ ...entry }), drainMs: 1000, ...options },
  });
  const listening = await listen(server.app, { host: '127.0.0.1', port: 0 });
  return {
    url: listening.url,
    token: TEST_TOKEN,
    server,
    listening,
    logged,
    stop: async () => {
      await server.close();
      await listening.close(500);
    },
  };
}
