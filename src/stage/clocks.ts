/** How long one call to a stage server may last. */

/** What the clocks of a call allow it, milliseconds, and who may end it before. */
export interface ClockLimits {
  readonly signal: AbortSignal;
  /** longest in all, without the time in the server's line */
  readonly timeoutMs: number;
  /** longest without a message */
  readonly silenceMs: number;
  /** longest in the server's line */
  readonly lineMs: number;
}

/** What ended a call: a clock, or its signal. A line that is too long is a busy server. */
export type CallEnd =
  | { readonly reason: 'timeout'; readonly kind: 'total' | 'silence'; readonly ms: number }
  | { readonly reason: 'busy'; readonly retryAfterMs: number }
  | { readonly reason: 'aborted' };

const RETRY_AFTER_MS = 1_000;

/** A clock that runs out after `ms` of running, with pauses in between that do not count. */
function startWatch(ms: number, onEnd: () => void) {
  let left = ms;
  let running: { readonly since: number; readonly timer: ReturnType<typeof setTimeout> } | null = null;
  return {
    run(): void {
      running ??= { since: Date.now(), timer: setTimeout(onEnd, left) };
    },
    pause(): void {
      if (!running) return;
      clearTimeout(running.timer);
      left = Math.max(0, left - Math.max(0, Date.now() - running.since));
      running = null;
    },
  };
}

/**
 * Three clocks on one call: the time that it computes, the time in the server's line, and the time since the last
 * message. The first to run out aborts the call and names itself. Law: no server makes a call last longer than
 * `timeoutMs` and `lineMs` together, whatever it says and however often it goes from one to the other. Once it has
 * computed, the last clock alone goes on.
 */
export function startClocks(call: ClockLimits) {
  const controller = new AbortController();
  let end: CallEnd = { reason: 'aborted' };
  const expire = (why: CallEnd) => () => {
    end = why;
    controller.abort();
  };
  const timedOut = (kind: 'total' | 'silence', ms: number) => expire({ reason: 'timeout', kind, ms });
  // messages come every few milliseconds: the timer is left as it is, and set again for what is left when it comes
  let heardAt = Date.now();
  let silence: ReturnType<typeof setTimeout>;
  const listen = (ms: number): void => {
    silence = setTimeout(() => {
      // a clock that has stepped back begins the wait anew
      const left = call.silenceMs - Math.max(0, Date.now() - heardAt);
      if (left > 0) listen(left);
      else timedOut('silence', call.silenceMs)();
    }, ms);
  };
  const computing = startWatch(call.timeoutMs, timedOut('total', call.timeoutMs));
  const inLine = startWatch(call.lineMs, expire({ reason: 'busy', retryAfterMs: RETRY_AFTER_MS }));
  computing.run();
  listen(call.silenceMs);
  const onAbort = () => controller.abort();
  if (call.signal.aborted) onAbort();
  else call.signal.addEventListener('abort', onAbort, { once: true });
  const aborted = new Promise<CallEnd>((resolve) => {
    const settle = () => resolve(end);
    if (controller.signal.aborted) settle();
    else controller.signal.addEventListener('abort', settle, { once: true });
  });
  return {
    signal: controller.signal,
    abort: () => controller.abort(),
    aborted,
    heard: (isInLine: boolean) => {
      heardAt = Date.now();
      (isInLine ? computing : inLine).pause();
      (isInLine ? inLine : computing).run();
    },
    computed: () => {
      heardAt = Date.now();
      computing.pause();
      inLine.pause();
    },
    stop: () => {
      computing.pause();
      inLine.pause();
      clearTimeout(silence);
      call.signal.removeEventListener('abort', onAbort);
    },
  };
}
