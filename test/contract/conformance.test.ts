/**
 * The conformance suite against every stage server at hand. `STAGE_URL` and `STAGE_TOKEN` point it at a remote one as
 * well.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { loadModel } from '../../containers/onnx/load-model.ts';
import { closedFormModel } from '../../scripts/local/closed-form-model.ts';
import { conformance } from './conformance.ts';
import { startServer } from './start.ts';
import { startVersion1 } from './version-1.ts';

// a step takes a moment, so there is a running stage to attach to
conformance('the stage server with a closed-form model', () =>
  startServer([closedFormModel({ before: (call) => (call === 'velocity' ? sleep(1) : undefined) }).model]),
);
conformance('the stage server with a model that has guidance, and a size for plain runs only', () =>
  startServer([
    closedFormModel({
      facts: {
        id: 'guided',
        aliases: [],
        guidance: { kind: 'embedded', min: 0, max: 10, default: 3.5 },
        sizes: [
          { width: 128, height: 64 },
          { width: 80, height: 48 },
        ],
      },
      before: (call) => (call === 'velocity' ? sleep(1) : undefined),
    }).model,
  ]),
);

conformance('the stage server with a model of 32 channels, sizes by rule, token upsampling and no cache', () =>
  startServer([
    closedFormModel({
      facts: {
        id: 'wide',
        aliases: [],
        family: 'flux.2',
        channels: 32,
        sizes: [{ width: 128, height: 64 }],
        size_rule: { multiple: 32, min_pixels: 4096, max_pixels: 16_384, max_aspect: 2.5 },
        upsampling: ['token'],
        caches: [],
      },
      before: (call) => (call === 'velocity' ? sleep(1) : undefined),
    }).model,
  ]),
);

conformance('a stage server of version 1', async () => {
  const model = closedFormModel({ before: (call) => (call === 'velocity' ? sleep(1) : undefined) }).model;
  const server = await startServer([model]);
  const old = await startVersion1(server);
  return { ...old, stop: () => old.stop().then(server.stop) };
});

conformance('the stage server with the embedded model', async () =>
  startServer([await loadModel({ dir: 'models', engine: 'native' })]),
);

const { STAGE_URL, STAGE_TOKEN = '' } = process.env;
if (STAGE_URL)
  conformance(`the stage server at ${STAGE_URL}`, async () => ({
    url: STAGE_URL,
    token: STAGE_TOKEN,
    stop: async () => {},
  }));
