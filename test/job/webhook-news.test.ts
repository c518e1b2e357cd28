/** What is told to whom: which events, pictures and ends are news for a webhook. */
import { expect, test } from 'vitest';
import type { JobEvent } from '../../src/job/events.ts';
import { WEBHOOK_EVENTS, type WebhookEvent } from '../../src/job/webhook.ts';
import { newsOf, wantsEnd, wantsPictures } from '../../src/job/webhook-news.ts';

const stage = (stage: number, attempt = 1): JobEvent => ({
  type: 'stage',
  data: { stage, stages: 3, tokens: 64, steps: 4, attempt },
});
const retry: JobEvent = { type: 'retry', data: { stage: 1, attempt: 1, reason: 'timeout', wait_ms: 500 } as never };
const step: JobEvent = { type: 'step', data: { stage: 1, step: 1, steps: 4, sigma: 0.5, ms: 3 } };

test.each<[readonly WebhookEvent[], JobEvent, ReturnType<typeof newsOf>]>([
  [['start'], stage(1), 'now'],
  [['start', 'logs'], stage(1), 'now'],
  [['logs'], stage(1), 'soon'],
  // one that goes on has started before
  [['start'], stage(1, 2), null],
  [['start'], stage(2), null],
  [['logs'], stage(1, 2), 'soon'],
  [['logs'], retry, 'soon'],
  [['logs'], step, null],
  [['output', 'completed'], stage(1), null],
])('%o: %o is %s', (events, event, news) => {
  expect(newsOf({ events }, event)).toBe(news);
});

test.each<[readonly WebhookEvent[], withPicture: boolean, withoutPicture: boolean]>([
  [['completed'], true, true],
  [['logs'], true, true],
  [['output'], true, false],
  [['start'], false, false],
  [['start', 'output'], true, false],
  [WEBHOOK_EVENTS, true, true],
])('the end is told to who wants %o', (events, withPicture, withoutPicture) => {
  expect([wantsEnd({ events }, true), wantsEnd({ events }, false)]).toEqual([withPicture, withoutPicture]);
});

test('a webhook that says nothing is told the end alone', () => {
  for (const event of [stage(1), retry, step]) expect(newsOf({}, event)).toBeNull();
  expect([wantsPictures({}), wantsEnd({}, false)]).toEqual([false, true]);
});
