/**
 * A process that holds a deployment, as a soak does, to be killed: the Worker's bundle from the JSON file that the
 * argument names, one line on standard output once it is ready.
 */
import { readFile } from 'node:fs/promises';
import { makeDeployment } from '../../scripts/crowd/deployment.ts';
import type { WorkerBundle } from '../../scripts/local/bundle.ts';

const bundle = JSON.parse(await readFile(process.argv[2] as string, 'utf8')) as WorkerBundle;
const deployment = await makeDeployment({ bundle, fleet: [{ id: 'a', url: 'http://127.0.0.1:9', token: 'none' }] });
await deployment.start();
console.log(JSON.stringify({ folder: deployment.folder }));
