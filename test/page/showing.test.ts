/** The one place that knows what is shown. */
import { expect, test } from 'vitest';
import type { Run } from '../../playground/session/run.js';
import { begin, besideEnds, type Session } from '../../playground/session/session.js';
import { makeShowing } from '../../playground/visit/showing.js';
import type { LinkedJob } from '../../src/job/links.ts';

const session = (id: string): Session => begin({ id } as LinkedJob, true);

function counted() {
  let drawn = 0;
  const showing = makeShowing(() => drawn++);
  return { showing, drawn: () => drawn };
}

test('what is left ends, and nothing is drawn anew until what comes next is there', () => {
  const { showing, drawn } = counted();
  const first = showing.leave();
  expect([showing.isAwaited, showing.session, drawn()]).toEqual([true, null, 0]);
  // what came too late for the last one
  showing.change(besideEnds);
  expect(drawn()).toBe(0);
  showing.show(session('a'));
  expect([showing.isAwaited, showing.session?.main.job.id, drawn(), first.aborted]).toEqual([false, 'a', 1, false]);
  const second = showing.leave();
  expect([first.aborted, second.aborted, showing.session]).toEqual([true, false, null]);
  showing.show(null);
  expect([showing.isAwaited, drawn()]).toEqual([false, 2]);
});

test('each change is drawn', () => {
  const { showing, drawn } = counted();
  showing.show(session('a'));
  showing.change(besideEnds);
  expect([showing.session?.isBesideAwaited, drawn()]).toEqual([false, 2]);
});

test('played are runs until they end, something else is played, or the session is left', () => {
  const runs: readonly Run[] = [];
  const { showing } = counted();
  showing.show(session('a'));
  const first = showing.play();
  first.draw({ runs, slowness: 2 });
  expect(showing.played).toEqual({ runs, slowness: 2 });
  first.draw(null);
  expect([showing.played, first.signal.aborted]).toEqual([null, false]);

  const second = showing.play();
  expect(first.signal.aborted).toBe(true);
  second.draw({ runs, slowness: 3 });
  first.draw({ runs, slowness: 2 });
  expect(showing.played?.slowness).toBe(3);
  showing.stop();
  second.draw({ runs, slowness: 3 });
  expect([showing.played, second.signal.aborted]).toEqual([null, true]);

  const third = showing.play();
  third.draw({ runs, slowness: 4 });
  showing.leave();
  expect([showing.played, third.signal.aborted]).toEqual([null, true]);
});
