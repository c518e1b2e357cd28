/** What is seen of a run, moment by moment: told by the events of the recorded one. */
import { describe, expect, test } from 'vitest';
import file from '../../playground/race/recording.json';
import { endingOf, type Look, momentNow, momentsOf, SEARCH, sceneOf } from '../../playground/session/moments.js';
import { advance, type Run, UNKNOWN } from '../../playground/session/run.js';
import type { SeenEvent } from '../../src/job/events.ts';
import type { Recording } from '../../src/job/recording.ts';

const [{ events }, plain] = (file as unknown as Recording).runs;

const LOOK: Look = {
  prompt: 'a fox',
  image: 'image.png',
  isGridShown: false,
  isHeld: false,
  layers: { edges: true, blocks: true },
};
const HELD: Look = { ...LOOK, isHeld: true };

const knownOf = (told: readonly SeenEvent[]): Run => told.reduce(advance, UNKNOWN);
/** What is known when an event has just been told, without thumbnails: not every server makes them. */
function once(isIt: (event: SeenEvent) => boolean): Run {
  const told = events.filter(({ type }) => type !== 'thumbnail');
  return knownOf(told.slice(0, told.findIndex(isIt) + 1));
}
const inStage = (stage: number): Run =>
  once(({ type, data }) => type === 'stage' && 'stage' in data && data.stage === stage);
const DONE = knownOf(events);
const live = (run: Run, look = LOOK) => sceneOf(run, momentNow(run), look);
const thumbnail = (run: Run, stage: number): Run =>
  advance(run, {
    type: 'thumbnail',
    seq: null,
    at: run.at,
    data: { stage, step: 1, format: 'webp', width: 16, height: 16, b64_json: 'AAAA' },
  });

describe('the moments of a run', () => {
  test('are its stages with the search between the first two; the plain model has one', () => {
    expect(momentsOf(DONE).map(({ key }) => key)).toEqual(['1', SEARCH, '2', '3']);
    expect(momentsOf(knownOf(plain.events)).map(({ key, name }) => [key, name])).toEqual([['1', 'Full resolution']]);
    expect(momentsOf(UNKNOWN)).toEqual([]);
  });

  test('say where each stands, and all are done at the end', () => {
    expect(momentsOf(inStage(2)).map(({ state }) => state)).toEqual(['done', 'done', 'running', 'waiting']);
    expect(momentsOf(advance(inStage(2), cancelled(inStage(2)))).map(({ state }) => state)).toEqual([
      'done',
      'done',
      'stopped',
      'waiting',
    ]);
    for (const { state, steps, stepsDone, time } of momentsOf(DONE)) {
      expect([state, stepsDone]).toEqual(['done', steps]);
      expect(time).not.toBe('–');
    }
  });

  test('follow each other as it happens', () => {
    const keys = events.map((_, i) => momentNow(knownOf(events.slice(0, i + 1))));
    expect(keys.filter((key, i) => key !== keys[i - 1])).toEqual(['1', SEARCH, '2', '3']);
  });
});

const cancelled = ({ at }: Run): SeenEvent => ({
  type: 'cancelled',
  seq: 99,
  at,
  data: { job_id: 'job_1', room: 'stage2', cost: null },
});

describe('the end of a run', () => {
  const stopped = (run: Run): Run => advance(run, cancelled(run));

  test('says what it took, or how far it came and what was paid', () => {
    expect(endingOf(inStage(2))).toBeNull();
    expect(endingOf(DONE)).toMatchObject({
      name: 'Finished',
      facts: expect.stringMatching(/^10 steps · [\d.]+ m?s in all$/),
    });
    expect(endingOf(stopped(inStage(2)))).toEqual({
      name: 'Cancelled',
      facts: 'In stage 2 of 3, after step 0 of 3.',
      sentence: '',
    });
    const half = plain.events.slice(
      0,
      plain.events.findIndex(({ type, data }) => type === 'step' && data.step >= 20) + 1,
    );
    const { name, facts } = endingOf(stopped(knownOf(half))) ?? {};
    expect([name, facts]).toEqual([
      'Cancelled',
      `After step ${knownOf(half).stages[0]?.stepsDone.at(-1)?.step} of 50.`,
    ]);
    expect(endingOf({ ...DONE, status: 'failed' })?.name).toBe('Failed');
    expect(endingOf({ ...UNKNOWN, status: 'cancelled' })?.facts).toBe('Before the first stage.');
  });

  test('a rough picture that was there stays', () => {
    const begun = thumbnail(knownOf(plain.events.slice(0, 4)), 1);
    expect(live(stopped(begun))).toMatchObject({ base: { isRough: true }, isLive: false });
  });
});

const thirdAt = events.findIndex(({ type, data }) => type === 'stage' && data.stage === 3) + 1;

describe('what is seen', () => {
  test('while the first stage runs, its tokens; then its picture, coarse', () => {
    expect(live(inStage(1))).toMatchObject({ base: null, grid: { rows: 8, cols: 8, split: [] }, isLive: true });
    const shown = live(once(({ type }) => type === 'preview'));
    expect(shown).toMatchObject({
      base: { isCoarse: true, isRough: false, words: '“a fox” after stage 1' },
      grid: null,
    });
  });

  test('once edges are found, the chosen squares become four, until there is something newer', () => {
    const { selection } = DONE;
    for (const run of [once(({ type }) => type === 'selection'), inStage(2)]) {
      const scene = live(run);
      expect(scene.splits?.split).toEqual(selection?.indices);
      expect(scene).toMatchObject({ isDim: true, blocks: null, base: { isCoarse: true } });
      expect(scene.edges?.source).toMatch(/^data:image\/png;base64,/);
    }
    const newer = live(thumbnail(inStage(2), 2));
    expect(newer).toMatchObject({ splits: null, edges: null, isDim: false, base: { isRough: true, isCoarse: true } });
    expect(newer.grid?.split).toEqual(selection?.indices);
  });

  test('a stage that has nothing yet shows the newest there is of those before', () => {
    // a picture may be told after the next stage has begun
    const third = knownOf(
      events.filter(
        ({ type, data }, i) => i < thirdAt && (type !== 'preview' || data.stage === 1) && type !== 'thumbnail',
      ),
    );
    const first = third.stages[0]?.picture;
    expect(third.stages[1]?.picture).toBeNull();
    expect(live(third)).toMatchObject({ base: { source: first }, grid: { split: 'all' } });
    expect(live(thumbnail(third, 2)).base?.isRough).toBe(true);
    // one that waits has none of theirs
    expect(sceneOf(inStage(1), '3', HELD).base).toBeNull();
  });

  test('held, the search shows what is laid over the picture, and nothing moves', () => {
    const held = sceneOf(DONE, SEARCH, HELD);
    expect(held).toMatchObject({ isDim: true, splits: null, isLive: false, grid: null });
    expect([held.edges === null, held.blocks === null]).toEqual([false, false]);
    const bare = sceneOf(DONE, SEARCH, { ...HELD, layers: { edges: false, blocks: false } });
    expect(bare).toMatchObject({ isDim: false, edges: null, blocks: null });
    expect(sceneOf(inStage(1), SEARCH, HELD)).toMatchObject({ base: null, edges: null, splits: null });
  });

  test('held, a stage that is over stays as it was', () => {
    for (const run of [inStage(3), DONE])
      expect(sceneOf(run, '1', HELD)).toMatchObject({ base: { source: DONE.stages[0]?.picture }, isLive: false });
  });

  test('at the end the picture stands still, with its tokens where they are asked for', () => {
    const base = { source: 'image.png', words: 'Picture of “a fox”', isCoarse: false, isRough: false };
    expect(live(DONE)).toMatchObject({ base, grid: null, isLive: false });
    expect(live(DONE, { ...LOOK, isGridShown: true }).grid).toEqual({ rows: 8, cols: 8, split: 'all' });
    const stopped = live(advance(inStage(2), cancelled(inStage(2))));
    expect(stopped).toMatchObject({ base: { isCoarse: true }, grid: null, splits: null, isLive: false });
  });

  test('the tokens of a third stage of four cannot be known', () => {
    const four = {
      ...DONE,
      image: null,
      stages: [...DONE.stages, { ...DONE.stages[2], stage: 4, picture: null }],
    } as Run;
    expect(sceneOf(four, '3', { ...HELD, isGridShown: true }).grid).toBeNull();
    expect(sceneOf(four, '4', { ...HELD, isGridShown: true }).grid?.split).toBe('all');
  });
});
