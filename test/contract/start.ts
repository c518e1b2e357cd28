/** The stage server in this process. */
import { createStageServer, type StageApp, type StageServerOptions } from '../../containers/onnx/app.ts';
import { type Listening, listen } from '../../containers/onnx/listen.ts';
import type { Model } from '../../containers/onnx/model.ts';
import type { Started } from './conformance.ts';

export const TEST_TOKEN = 'a token for tests';

export interface ServerOptions extends Partial<StageServerOptions> {
  /** a free one when absent */
  readonly port?: number;
  readonly token?: string;
}

export async function startServer(
  models: readonly Model[] | Promise<readonly Model[]>,
  { port = 0, token = TEST_TOKEN, ...options }: ServerOptions = {},
): Promise<Started & { server: StageApp; listening: Listening; logged: Record<string, unknown>[] }> {
  const logged: Record<string, unknown>[] = [];
  const server = createStageServer({
    models,
    token,
    options: { log: (entry) => logged.push({ ...entry }), drainMs: 1000, ...options },
  });
  const listening = await listen(server.app, { host: '127.0.0.1', port });
  return {
    url: listening.url,
    token,
    server,
    listening,
    logged,
    stop: async () => {
      await server.close();
      await listening.close(500);
    },
  };
}
