/**
 * What is shown, and the one place where that changes: a session, and the runs that are drawn in place of its own while
 * they are played again.
 *
 * @import { Run } from '../session/run.js'
 * @import { Session } from '../session/session.js'
 */

/** @typedef {{ runs: readonly Run[], slowness: number }} Played `slowness`: how many times slower than they were */
/** @typedef {ReturnType<typeof makeShowing>} Showing */

/**
 * Shows nothing yet. `redraw` is called after each change.
 *
 * @param {() => void} redraw
 */
export function makeShowing(redraw) {
  /** @type {Session | null} */
  let session = null;
  /** @type {Played | null} */
  let played = null;
  /** whether another session is on its way: what is drawn of the last one stays until then */
  let isAwaited = false;
  // each ends what belongs to it
  let own = new AbortController();
  let playing = new AbortController();

  function stop() {
    playing.abort();
    played = null;
  }

  return {
    redraw,
    get session() {
      return session;
    },
    get played() {
      return played;
    },
    get isAwaited() {
      return isAwaited;
    },

    /** Leaves what is shown for what comes next; the signal ends when that is left. */
    leave() {
      own.abort();
      own = new AbortController();
      stop();
      session = null;
      isAwaited = true;
      return own.signal;
    },

    /** What comes next is there; null: nothing is. @param {Session | null} next */
    show(next) {
      session = next;
      isAwaited = false;
      redraw();
    },

    /** Goes on to the next session, where there is one. @param {(session: Session) => Session} step */
    change(step) {
      if (!session) return;
      session = step(session);
      redraw();
    },

    /** Draws runs in place of the session's until `play` is over, or `stop` comes first. The signal says which. */
    play() {
      stop();
      playing = new AbortController();
      const { signal } = playing;
      return {
        signal,
        /** @param {Played | null} next null: it is over */
        draw(next) {
          if (signal.aborted) return;
          played = next;
          redraw();
        },
      };
    },

    /** Goes back from what is played to the session's own runs. */
    stop() {
      stop();
      redraw();
    },
  };
}
