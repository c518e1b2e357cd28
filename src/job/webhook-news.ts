/** What is news for a webhook: of a request under way, and of one that is over. Pure. */
import type { JobEvent } from './events.ts';
import type { Webhook } from './webhook.ts';

type Wish = Pick<Webhook, 'events'>;

const wants = ({ events = ['completed'] }: Wish, event: NonNullable<Wish['events']>[number]): boolean =>
  events.includes(event);

/**
 * Whether an event of a job under way is told: the first stage to who wants `start`, at once, and what has a line in
 * the story to who wants `logs`, soon. Null: it is not.
 */
export function newsOf(wish: Wish, event: JobEvent): 'now' | 'soon' | null {
  const isStart = event.type === 'stage' && event.data.stage === 1 && event.data.attempt === 1;
  if (isStart && wants(wish, 'start')) return 'now';
  const hasLine = event.type === 'stage' || event.type === 'retry' || event.type === 'selection';
  return hasLine && wants(wish, 'logs') ? 'soon' : null;
}

/** Whether a picture is told while others of its request are still made. */
export const wantsPictures = (wish: Wish): boolean => wants(wish, 'output');

/** Whether the end is told: to all but those who want `start` alone, and of `output` alone where there is a picture. */
export const wantsEnd = (wish: Wish, hasPicture: boolean): boolean =>
  wants(wish, 'completed') || wants(wish, 'logs') || (wants(wish, 'output') && hasPicture);
