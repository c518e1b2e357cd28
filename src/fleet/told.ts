/**
 * What a dispatcher answers, taken as what it is or not at all: one of another version, or a broken one, may say
 * anything, and no job is to break by it. Pure.
 */
import type { Admission, DispatcherView, Slot, SlotAnswer } from './slots.ts';

type Fields = Readonly<Record<string, unknown>>;

const fieldsOf = (value: unknown): Fields | null =>
  typeof value === 'object' && value !== null ? (value as Fields) : null;
const isNumber = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value);
const isNumberOrNull = (value: unknown): boolean => value === null || isNumber(value);

/** Whether this is a slot. */
export function isSlot(value: unknown): value is Slot {
  const slot = fieldsOf(value);
  return (
    slot !== null &&
    isNumber(slot.lease) &&
    typeof slot.backend === 'string' &&
    (slot.engineClass === null || typeof slot.engineClass === 'string') &&
    Array.isArray(slot.features) &&
    slot.features.every((feature) => typeof feature === 'string')
  );
}

/**
 * The answer to a question for a slot. Throws an Error that names its kind where it is none, or gives a slot at a
 * server that is not `isThere`.
 */
export function slotAnswer(value: unknown, isThere: (backend: string) => boolean): SlotAnswer {
  const answer = fieldsOf(value);
  switch (answer?.kind) {
    case 'slot':
      if (isSlot(answer.slot) && isThere(answer.slot.backend)) return value as SlotAnswer;
      break;
    case 'line':
      if (isNumber(answer.position) && isNumberOrNull(answer.etaMs) && typeof answer.isDown === 'boolean')
        return value as SlotAnswer;
      break;
    case 'none':
      if (Array.isArray(answer.unfit)) return value as SlotAnswer;
      break;
    case 'full':
      if (isNumber(answer.retryMs)) return value as SlotAnswer;
      break;
  }
  throw notAnswered(answer);
}

/** The answer to those who want to come. Throws an Error that names its kind where it is none. */
export function admission(value: unknown): Admission {
  const answer = fieldsOf(value);
  const { kind, waiting, waitMs, retryMs } = answer ?? {};
  if (kind === 'come' && isNumber(waiting) && isNumberOrNull(waitMs)) return value as Admission;
  if (kind === 'full' && isNumber(waitMs) && isNumber(retryMs)) return value as Admission;
  if (kind === 'none') return value as Admission;
  throw notAnswered(answer);
}

/** What operators are shown. Throws an Error where it is none. */
export function dispatcherView(value: unknown): DispatcherView {
  const view = fieldsOf(value);
  if (view && isNumber(view.since) && Array.isArray(view.servers) && Array.isArray(view.lines))
    return value as DispatcherView;
  throw notAnswered(view);
}

/** Most characters shown of a kind that nobody knows. */
const MAX_SHOWN = 20;

const notAnswered = (answer: Fields | null): Error =>
  new Error(`the dispatcher's answer is none: ${String(answer?.kind).slice(0, MAX_SHOWN)}`);
