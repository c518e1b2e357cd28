/** Jobs on a rig that is killed under them, held to one that nobody disturbed. */
import { expect } from 'vitest';
import { fetchImage } from '../../scripts/generate/client.ts';
import { type Rig, startWatchedJob, storedEvents, type Watched } from './rig.ts';

/** The job that is run and killed. */
export const BODY = { prompt: 'a red apple', width: 256, height: 256, preset: '7x', seed: 7 };

export interface Crashes {
  /** of the undisturbed job: its image, how many events it has, and the shortest time that one took, milliseconds */
  readonly reference: Uint8Array;
  readonly numEvents: number;
  readonly duration: number;
  /** kills everything at once under the job and starts it again */
  crash(job: Watched): Promise<void>;
  /**
   * The job's end, checked: done, the same bytes, no event lost, doubled or changed for the watcher who was cut off.
   */
  expectSameEnd(job: Watched): Promise<void>;
  /** kills so far, and those that met a job still under way */
  counts(): { readonly kills: number; readonly cut: number };
}

/** Starts the rig and runs the job undisturbed. */
export async function prepare(rig: Rig): Promise<Crashes> {
  await rig.start();
  let reference: Uint8Array = new Uint8Array();
  let numEvents = 0;
  // the first job of a stage server is slower than the rest, and any may meet a busy machine
  const durations: number[] = [];
  for (let run = 0; run < 4; run++) {
    const begin = performance.now();
    const { id, events } = await startWatchedJob(rig.service, BODY);
    numEvents = (await events).length;
    durations.push(performance.now() - begin);
    reference = await fetchImage(rig.service, id);
  }
  let kills = 0;
  let cut = 0;
  return {
    reference,
    numEvents,
    duration: Math.min(...durations),
    async crash({ hasEnded }) {
      kills++;
      if (!hasEnded()) cut++;
      await rig.kill();
      await rig.start();
    },
    async expectSameEnd({ id, events }) {
      const seen = await events;
      expect(seen.at(-1)?.type).toBe('done');
      const stored = seen.filter(({ seq }) => seq !== null);
      expect(stored.map(({ seq }) => seq)).toEqual(stored.map((_, index) => index + 1));
      expect(await storedEvents(rig.service, id)).toEqual(stored);
      expect(Buffer.compare(await fetchImage(rig.service, id), reference)).toBe(0);
    },
    counts: () => ({ kills, cut }),
  };
}
