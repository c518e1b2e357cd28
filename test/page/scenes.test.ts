/** The scenes of a clip, from events as a job tells them. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LAST_MS, lengthOf, SCENE_MS, sceneAt, scenesOf, TURN_MS } from '../../playground/keep/scenes.js';
import { begin, besideBegins, type Session, told } from '../../playground/session/session.js';
import type { SeenEvent } from '../../src/job/events.ts';
import type { LinkedJob } from '../../src/job/links.ts';

const JOB = { id: 'job_1', preset: '7x', prompt: 'a fox' } as LinkedJob;
const PLAIN = { ...JOB, id: 'job_2', preset: 'plain' } as LinkedJob;
const IMAGES = { main: '/main.png', beside: '/plain.png' };

const event = (type: string, data: object): SeenEvent => ({ seq: 1, at: 1, type, data }) as unknown as SeenEvent;
const plan = (...steps: number[]): SeenEvent =>
  event('plan', {
    width: 256,
    height: 256,
    cost: null,
    stages: steps.map((count, i) => ({ stage: i + 1, tokens: 64 * (i + 1), steps: count, sigmas: [] })),
    selected: [],
  });
const preview = (stage: number): SeenEvent => event('preview', { stage, format: 'png', b64_json: `P${stage}` });
const selection = (edges: boolean): SeenEvent =>
  event('selection', {
    rows: 8,
    cols: 8,
    indices: [1, 2],
    edge_pixels: 3,
    ms: 1,
    edges: edges ? { format: 'png', b64_json: 'E' } : null,
    blocks: { format: 'png', b64_json: 'B' },
  });
const done = (ms: number[], total: number): SeenEvent =>
  event('done', {
    image: {},
    receipt: {
      stages: ms.map((compute_ms, i) => ({ stage: i + 1, compute_ms })),
      tflops: { denoise: 0.02, ratio: 7.8 },
      wall_ms: { total },
    },
    cost: null,
  });
const following = (session: Session, part: 'main' | 'beside', ...events: readonly SeenEvent[]): Session =>
  events.reduce((now, each) => told(now, part, each), session);
const png = (text: string) => `data:image/png;base64,${text}`;

const EVENTS = [plan(2, 3, 5), preview(1), selection(true), preview(2), done([80, 60, 240], 742)];
const OVER = following(begin(JOB, false), 'main', ...EVENTS);

describe('the scenes of a job', () => {
  test('are its stages, the selection after the first, and what it came to', () => {
    expect(scenesOf(OVER, IMAGES).map(({ title, words }) => `${title}: ${words}`)).toEqual([
      'Stage 1 of 3: 64 tokens · 2 steps · 80 ms',
      'Edges and blocks: 2 blocks made sharp early',
      'Stage 2 of 3: 128 tokens · 3 steps · 60 ms',
      'Stage 3 of 3: 192 tokens · 5 steps · 240 ms',
      'Made in 742 ms: 7.8× less work than the plain model',
    ]);
    const layers = scenesOf(OVER, IMAGES).map(({ pictures }) => pictures[0]!.layers.map(({ source }) => source));
    expect(layers).toEqual([[png('P1')], [png('P1'), png('B'), png('E')], [png('P2')], ['/main.png'], ['/main.png']]);
  });

  test('end with both pictures where the plain model’s is there', () => {
    const both = following(besideBegins(OVER, PLAIN), 'beside', plan(50), done([2210], 2340));
    expect(scenesOf(both, IMAGES).at(-1)).toMatchObject({
      title: 'The plain model took 5.8× as long to denoise.',
      pictures: [{ name: '7x: 742 ms' }, { name: 'plain: 2.34 s' }],
    });
    const running = following(besideBegins(OVER, PLAIN), 'beside', plan(50));
    expect(scenesOf(running, IMAGES).at(-1)?.pictures).toHaveLength(1);
  });

  test('leave out what the events do not have', () => {
    const bare = following(begin(JOB, false), 'main', plan(2, 3, 5), done([], 742));
    expect(scenesOf(bare, IMAGES).map(({ title }) => title)).toEqual(['Stage 3 of 3', 'Made in 742 ms']);
    const blind = following(begin(JOB, false), 'main', plan(3, 6), preview(1), selection(false), done([1, 2], 9));
    expect(scenesOf(blind, IMAGES)[1]!.pictures[0]!.layers).toHaveLength(2);
  });

  test('are none before there is a picture', () => {
    expect(scenesOf(following(begin(JOB, false), 'main', ...EVENTS.slice(0, -1)), IMAGES)).toEqual([]);
  });
});

describe('a moment of a clip', () => {
  const scenes = scenesOf(OVER, IMAGES);

  test('has the scene whose time it is, coming up over the one before', () => {
    expect(lengthOf(scenes)).toBe(4 * SCENE_MS + LAST_MS);
    expect(sceneAt(scenes, 0)).toEqual({ index: 0, share: 1 });
    expect(sceneAt(scenes, SCENE_MS)).toEqual({ index: 1, share: 0 });
    expect(sceneAt(scenes, SCENE_MS + TURN_MS / 2)).toEqual({ index: 1, share: 0.5 });
    expect(sceneAt(scenes, 1e9)).toEqual({ index: 4, share: 1 });
  });

  test('never goes back', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1e5, noNaN: true }),
        fc.double({ min: 0, max: 1e4, noNaN: true }),
        (at, by) => {
          const [one, later] = [sceneAt(scenes, at), sceneAt(scenes, at + by)];
          expect(later.index + later.share).toBeGreaterThanOrEqual(
            one.index + (one.index === later.index ? one.share : 0),
          );
          expect(one.share).toBeGreaterThanOrEqual(0);
        },
      ),
      { seed: 22 },
    );
  });
});
