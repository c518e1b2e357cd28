/** The recording that the page shows: the file itself, held against what the events in it say. */
import { gzipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import {
  describeOrigin,
  describePace,
  describeResult,
  endOf,
  fasterBy,
  slownessOf,
} from '../../playground/race/recording.js';
import file from '../../playground/race/recording.json';
import type { Recording } from '../../src/job/recording.ts';

/** What it may take over the wire. */
const LIMIT = 400_000;
/** The clock of the last event is read a moment after the receipt's. */
const APART_MS = 20;

const picture = {
  format: z.enum(['png', 'webp', 'jpeg']),
  width: z.int().positive(),
  height: z.int().positive(),
  b64_json: z.base64().min(1),
};
const event = <T extends string, S extends z.ZodRawShape>(type: T, data: S) =>
  z.object({
    type: z.literal(type),
    seq: z.int().positive().nullable(),
    at: z.number().min(0),
    data: z.looseObject(data),
  });
const stage = { stage: z.int().positive() };
const EVENT = z.discriminatedUnion('type', [
  event('queued', {
    job_id: z.string(),
    stage: z.int().nullable(),
    position: z.int().nullable(),
    eta_ms: z.number().nullable(),
  }),
  event('plan', { seed: z.int(), width: z.int(), height: z.int(), stages: z.array(z.looseObject(stage)).min(1) }),
  event('stage', { ...stage, tokens: z.int(), steps: z.int(), attempt: z.literal(1) }),
  event('step', { ...stage, step: z.int(), steps: z.int(), sigma: z.number(), ms: z.number() }),
  event('thumbnail', { ...stage, step: z.int(), ...picture }),
  event('preview', { ...stage, ...picture }),
  event('selection', {
    rows: z.int(),
    cols: z.int(),
    indices: z.array(z.int()),
    edges: z.object(picture),
    blocks: z.object(picture),
  }),
  event('done', { image: z.looseObject({}), receipt: z.looseObject({ model_digest: z.string() }) }),
]);
const run = z.strictObject({ preset: z.string(), events: z.array(EVENT).min(3), picture: z.strictObject(picture) });
const RECORDING = z.strictObject({
  prompt: z.string().min(1),
  seed: z.int().min(0),
  width: z.int().positive(),
  height: z.int().positive(),
  model: z.string(),
  model_digest: z.string().regex(/^[0-9a-f]{64}$/),
  recorded_on: z.iso.date(),
  rounds: z.int().positive(),
  machine: z.strictObject({ cores: z.int().positive(), processor: z.string().min(1) }),
  versions: z.strictObject({ ralu: z.string(), node: z.string(), workerd: z.string() }),
  runs: z.tuple([run, run]),
});

const recording = file as unknown as Recording;
const text = JSON.stringify(file);
const [own, plain] = recording.runs;

describe('the recording', () => {
  test('is what its types say', () => {
    expect(RECORDING.safeParse(recording).error).toBeUndefined();
    expect(plain.preset).toBe('plain');
    expect(own.preset).not.toBe('plain');
  });

  test('is small, and names no machine', () => {
    expect(gzipSync(new TextEncoder().encode(text)).length).toBeLessThan(LIMIT);
    expect(text).not.toMatch(/https?:|127\.0\.0\.1|localhost|token=|ralu_/);
  });

  test.each([
    ['the preset', own],
    ['the plain model', plain],
  ])('%s: every event is of the request that the recording names, in order, to its end', (_, { preset, events }) => {
    const { prompt: _prompt, seed, width, height, model, model_digest } = recording;
    const plan = events.find(({ type }) => type === 'plan')?.data;
    const end = endOf({ ...own, events });
    expect(plan).toMatchObject({ seed, width, height, model, model_digest });
    expect(end).toMatchObject({ status: 'done', receipt: { seed, model, model_digest, preset } });
    // what was told live may be told before what was stored sooner
    const times = events.filter(({ seq }) => seq !== null).map(({ at }) => at);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(times[0]).toBe(0);
    // the clock of the page ends where the receipt does
    expect(Math.abs((times.at(-1) ?? 0) - (end.receipt?.wall_ms.total ?? 0))).toBeLessThan(APART_MS);
    for (const { stage: number, steps, stepsDone } of end.stages) {
      expect(stepsDone.at(-1)?.step).toBe(steps);
      const receipt = end.receipt?.stages.find((done) => done.stage === number);
      expect(receipt).toMatchObject({ steps, attempts: 1 });
    }
  });

  test('the ratios are those of its receipts, and the page says them', () => {
    const compute = ({ events }: typeof own) =>
      events.reduce(
        (sum, { type, data }) =>
          type === 'done' ? data.receipt.stages.reduce((all, { compute_ms }) => all + compute_ms, 0) : sum,
        0,
      );
    const last = ({ events }: typeof own) => events.at(-1)?.at ?? 0;
    const { denoising, whole } = fasterBy(recording);
    expect(denoising).toBeCloseTo(compute(plain) / compute(own), 10);
    expect(Math.abs(whole / (last(plain) / last(own)) - 1)).toBeLessThan((2 * APART_MS) / last(own));
    expect(whole).toBeGreaterThan(1);
    const shown = (ratio: number) => (ratio >= 10 ? String(Math.round(ratio)) : ratio.toFixed(1));
    expect(describeResult(recording)).toBe(
      `${shown(denoising)}× faster denoising; ${shown(whole)}× for the whole request.`,
    );
    // both went through the same story
    expect(own.picture.b64_json).not.toBe(plain.picture.b64_json);
  });

  test('it says how it is played and where it is from', () => {
    const slowness = slownessOf(recording);
    expect(Number.isInteger(slowness) && slowness >= 1).toBe(true);
    const longest = Math.max(...recording.runs.map(({ events }) => events.at(-1)?.at ?? 0));
    expect(Math.abs(longest * slowness - 9000)).toBeLessThan(longest);
    expect(describePace(recording)).toContain(slowness === 1 ? 'as fast as it was' : ` ${slowness}× slower`);
    const origin = describeOrigin(recording);
    expect(origin).toContain(recording.recorded_on.slice(0, 4));
    expect(origin).toContain(recording.machine.processor);
    expect(origin).toContain(recording.model_digest.slice(0, 8));
  });

  test('one that took long enough is played as fast as it was', () => {
    const slow = {
      ...recording,
      runs: recording.runs.map((each) => ({
        ...each,
        events: each.events.map((told) => ({ ...told, at: told.at * 100 })),
      })),
    } as unknown as Recording;
    expect(slownessOf(slow)).toBe(1);
    expect(describePace(slow)).toBe('played as fast as it was');
  });

  test('a run without a receipt has no ratio', () => {
    const cut = { ...recording, runs: [{ ...own, events: own.events.slice(0, -1) }, plain] } as unknown as Recording;
    expect(() => fasterBy(cut)).toThrow('no receipt');
  });
});
