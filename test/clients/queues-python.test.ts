/** fal's and Replicate's clients in Python against the running stack. */
import { beforeAll, describe, expect, test } from 'vitest';
import { type Door, openDoor } from './doors.ts';
import { NO_PYTHON, runScript } from './python.ts';

const PNG = '89504e470d0a1a0a';
const MODEL = 'gpt-image-1';

describe.skipIf(NO_PYTHON)('in Python, where RALU_CLIENTS_PYTHON names one', () => {
  let rig: Door;
  beforeAll(async () => {
    rig = await openDoor();
  });
  /** What a script said of each of its calls. */
  const said = async (script: string): Promise<(call: string) => readonly object[]> => {
    const lines = await runScript(script, rig.service, { args: [MODEL] });
    return (call) =>
      lines
        .filter((line) => line.call === call)
        .map(({ call: _, ...rest }) => {
          return rest;
        });
  };

  test('replicate: runs, versions, streams, deployments, refusals', async () => {
    const of = await said('replicate_predictions.py');
    expect(of('run')).toEqual([{ png: PNG }]);
    expect(of('models')).toEqual([{ listed: true, next: null }]);
    expect(of('model')).toEqual([{ name: expect.any(String), versions: [true] }]);
    expect(of('run version')).toEqual([{ outputs: 2, kind: 'list' }]);
    expect(of('run slowly')).toEqual([{ png: PNG }]);
    const events = of('stream') as readonly { event: string; id: string; data: string }[];
    expect(events.filter(({ event }) => event === 'output').map(({ data }) => data)).toEqual([
      'data:',
      'data:',
      'http:',
    ]);
    expect(events.at(-1)).toEqual({ event: 'done', id: 'done', data: '{}' });
    expect(of('create')).toEqual([{ status: 'succeeded', logs: true, seconds: expect.any(Number) }]);
    expect(of('list')).toEqual([{ has: true }]);
    expect(of('cancel')).toEqual([{ status: 'canceled' }]);
    expect(of('deployment')).toEqual([{ model: expect.stringMatching(/^ralu\//), status: 'succeeded' }]);
    expect(of('refused')).toEqual([
      { title: 'Input validation failed', status: 422 },
      ...new Array(5).fill({ title: 'Not found', status: 404 }),
    ]);
  });

  test('fal-client: the queue with logs in its spelling, runs, streams, refusals that are not repeated', async () => {
    const of = await said('fal_requests.py');
    expect(of('subscribe')).toEqual([{ png: PNG, seed: 7, last: { kind: 'Completed', logs: expect.any(Number) } }]);
    expect((of('subscribe')[0] as { last: { logs: number } }).last.logs).toBeGreaterThan(3);
    expect(of('events').at(-1)).toEqual({ kind: 'Completed', logs: 0 });
    expect(of('get')).toEqual([{ images: 2, warnings: [expect.stringMatching(/^x-fal-queue-priority is ignored/)] }]);
    expect(of('run')).toEqual([{ jpeg: 'ffd8', width: 256 }]);
    expect(of('stream')).toEqual([
      { url: 'data:', stage: 1 },
      { url: 'data:', stage: 2 },
      { url: 'http:', stage: null },
    ]);
    expect(of('refused')).toMatchObject([
      { status: 499, type: 'client_cancelled' },
      { status: 422, message: expect.stringContaining('made from text alone') },
      { status: 404, type: 'model_not_found' },
    ]);
  });
});
