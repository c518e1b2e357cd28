/**
 * Pictures of stages that follow their results on the same stream, while the job goes on. One that has come by the time
 * its stage is stored is stored with it, any other by itself when it comes. One that does not come is left out: the job
 * waits for it only at its end, and only for a moment.
 */
import { isLastRoom, type LatePicture } from '../../src/job/story.ts';
import { within } from '../../src/stage/time-limit.ts';
import type { JobParts } from './parts.ts';
import { addTimes } from './tables.ts';

/** How long the end of a job waits for pictures that are on their way. */
const SETTLE_MS = 1000;

export interface LatePictures {
  /** The picture of a stage is on its way; `coming` does not reject. */
  expect(stage: number, coming: Promise<LatePicture | null>): void;
  /** The stage is being stored, in the caller's transaction: so is its picture, where it has come. */
  store(stage: number): void;
  /** The job begins anew. */
  forget(): void;
  /** Waits for those on the way, but not for long. */
  settle(): Promise<void>;
}

interface Expected {
  readonly settled: Promise<void>;
  /** come before its stage was stored */
  picture: LatePicture | null;
  isStageStored: boolean;
}

type Parts = Pick<JobParts, 'rows' | 'row' | 'append' | 'notify' | 'background'>;

export function makeLatePictures({ rows, row, append, notify, background }: Parts): LatePictures {
  const expected = new Map<number, Expected>();

  function add(stage: number, { event, decodeMs, encodeMs }: LatePicture): void {
    addTimes(rows, stage, { decodeMs, encodeMs });
    append(event);
  }

  function storeAlone(stage: number, picture: LatePicture): void {
    const now = row();
    // its end was the last event
    if (!now || isLastRoom(now.room)) return;
    rows.transact(() => add(stage, picture));
    notify();
  }

  return {
    expect(stage, coming) {
      const settled = coming.then((picture) => {
        if (picture && one.isStageStored) storeAlone(stage, picture);
        else one.picture = picture;
      });
      const one: Expected = { settled, picture: null, isStageStored: false };
      expected.set(stage, one);
      background(settled);
    },
    store(stage) {
      const one = expected.get(stage);
      if (!one) return;
      if (one.picture) add(stage, one.picture);
      rows.onCommit(() => {
        one.isStageStored = true;
        one.picture = null;
      });
    },
    forget: () => expected.clear(),
    async settle() {
      const all = Promise.all([...expected.values()].map(({ settled }) => settled));
      await within(SETTLE_MS, 'the pictures', all).catch(() => undefined);
    },
  };
}
