/**
 * The way to the tools, which nobody needs before there is a picture: they are fetched with the first one, or when
 * somebody does something.
 *
 * @import { Session } from '../session/session.js'
 * @import { Showing } from './showing.js'
 */
import { announce } from '../ask/dock.js';
import { askBalance } from '../ask/money.js';
import { jobsChanged } from '../keep/history.js';
import { onDemand } from '../wire/on-demand.js';
import { showError } from './trouble.js';

/** @typedef {ReturnType<typeof makeToolbox>} Toolbox */
/** What the rooms of a visit have in common. @typedef {{ showing: Showing, toolbox: Toolbox }} Visit */

/**
 * @param {Showing} showing what the tools are used on
 * @param {(id: string) => void} onErased one of those side by side is gone
 */
export function makeToolbox(showing, onErased) {
  /** @type {typeof import('./tools.js') | null} */
  let tools = null;
  let isFetching = false;

  /** Fetches the tools, once. */
  async function load() {
    if (isFetching || tools) return;
    isFetching = true;
    try {
      const fetched = await onDemand(() => import('./tools.js'));
      await fetched.listenToTools({
        showing,
        onError(error) {
          showError(error);
          showing.redraw();
        },
        onErased,
        onLook({ isOver, hasJustEnded }) {
          showing.redraw();
          if (hasJustEnded) announce(fetched.groupSentence());
          if (!isOver) return;
          void askBalance({ isSettling: true });
          jobsChanged().catch(showError);
        },
      });
      tools = fetched;
      showing.redraw();
    } catch {
      // the next picture asks again
    }
    isFetching = false;
  }

  return {
    load,
    /** Draws the tools for what is shown. @param {Session | null} session */
    draw(session) {
      if (session) void load();
      tools?.drawTools(session);
    },
    /** Whether one of those that stand side by side still runs. */
    isGroupBusy: () => tools?.isGroupBusy() ?? false,
    /** How far those are that stand side by side; empty where all have ended. */
    groupStatus: () => (tools?.isGroupBusy() ? tools.groupSentence() : ''),
    /** Those side by side that came to no picture. */
    fruitlessJobs: () => tools?.fruitlessJobs() ?? [],
    /** Those side by side that still run, by id. */
    runningJobs: () => tools?.runningJobs() ?? [],
    /** Looks whether those side by side are still there. */
    lookAgain: () => tools?.lookAgain(),
  };
}
