import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Heard, makeProgress } from '../../durable-objects/job/progress.ts';

beforeEach(() => void vi.useFakeTimers({ now: 1000 }));
afterEach(() => void vi.useRealTimers());

/** What was told together, and what was stored, in order: `t1,2` and `s3`. */
function heardBy() {
  const log: string[] = [];
  const nameOf = ({ event }: Heard): string =>
    event.type === 'step' ? String(event.data.step) : event.type === 'queued' ? `q${event.data.position}` : event.type;
  const progress = makeProgress({
    store: (heard) => void log.push(`s${nameOf(heard)}`),
    tell: (heard) => void log.push(`t${heard.map(nameOf).join(',')}`),
  });
  const step = (n: number, steps: number, stage = 1) =>
    progress.add('job', stage, { event: 'step', step: n, steps, sigma: 0.5, ms: 9 });
  return { log, progress, step };
}

describe('progress', () => {
  test('of quick steps is told at most every 100 ms, each step once, and none stored but with its stage', () => {
    const { log, step, progress } = heardBy();
    for (let n = 1; n <= 24; n++) {
      step(n, 24);
      vi.advanceTimersByTime(10);
    }
    expect(progress.unstored()?.event).toMatchObject({ type: 'step', data: { step: 24 } });
    progress.drop();
    expect(log).toEqual(['t1', 't2,3,4,5,6,7,8,9,10', 't11,12,13,14,15,16,17,18,19,20', 't21,22,23']);
    vi.advanceTimersByTime(1000);
    progress.flush();
    expect([log.length, progress.unstored()]).toEqual([4, null]);
  });

  test('of the last step is told where what the stage made is long in coming', () => {
    const { log, step, progress } = heardBy();
    step(1, 1);
    expect(log).toEqual([]);
    vi.advanceTimersByTime(1900);
    expect(log).toEqual([]);
    vi.advanceTimersByTime(100);
    expect(log).toEqual(['t1']);
    progress.flush();
    expect(log).toEqual(['t1', 's1']);
  });

  test('of slow steps is stored three times on the way, spread over the stage', () => {
    const { log, step, progress } = heardBy();
    for (let n = 1; n <= 50; n++) {
      vi.advanceTimersByTime(1000);
      step(n, 50);
    }
    progress.flush();
    expect(log.filter((line) => line.startsWith('s'))).toEqual(['s13', 's25', 's38', 's50']);
    expect(log.join().match(/\d+/g)).toEqual(Array.from({ length: 50 }, (_, i) => String(i + 1)));
  });

  test('is not stored more often than every 2 s on the way', () => {
    const { log, step } = heardBy();
    for (let n = 1; n <= 8; n++) {
      step(n, 8);
      vi.advanceTimersByTime(500);
    }
    expect(log.filter((line) => line.startsWith('s'))).toEqual(['s5']);
  });

  test('is stored before anything else is, as far as it was heard of', () => {
    const { log, step, progress } = heardBy();
    step(1, 9);
    step(2, 9);
    step(3, 9);
    expect(progress.latest()?.event).toMatchObject({ type: 'step', data: { stage: 1, step: 3 } });
    progress.flush();
    expect(log).toEqual(['t1', 't2', 's3']);
    expect(progress.latest()).toBeNull();
    progress.flush();
    vi.advanceTimersByTime(1000);
    expect(log).toHaveLength(3);
  });

  test('comes again where it was told before it was stored', () => {
    const { log, step, progress } = heardBy();
    step(1, 9);
    progress.flush();
    expect(log).toEqual(['t1', 's1']);
  });

  test('of a wait in a queue is told and never stored', () => {
    const { log, progress } = heardBy();
    progress.add('job', 1, { event: 'queued', position: 2, eta_ms: 900 });
    progress.add('job', 1, { event: 'queued', position: 1, eta_ms: 900 });
    expect(progress.latest()?.event).toMatchObject({ type: 'queued', data: { position: 1 } });
    progress.flush();
    expect(log).toEqual(['tq2', 'tq1']);
  });

  test('of each stage is counted anew, an attempt that begins again is not', () => {
    const { log, step, progress } = heardBy();
    const run = (stage: number, until: number): void => {
      for (let n = 1; n <= until; n++) {
        step(n, 4, stage);
        vi.advanceTimersByTime(3000);
      }
    };
    run(1, 3);
    progress.flush();
    run(1, 4);
    progress.flush();
    run(2, 4);
    progress.flush();
    expect(log.filter((line) => line.startsWith('s'))).toEqual(['s2', 's3', 's3', 's4', 's2', 's3', 's4']);
  });
});
