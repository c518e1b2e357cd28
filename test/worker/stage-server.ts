/**
 * Global setup of the worker tests: the real stage server with the real model, as a process of its own that dies with
 * this one.
 */
import { startStage } from '../../scripts/local/stage.ts';

export default async function setup(): Promise<() => Promise<void>> {
  const { child, ready } = startStage({
    engine: 'native',
    port: Number(process.env.TEST_STAGE_PORT),
    token: 'stage-token',
  });
  await ready;
  return () => child.stop();
}
