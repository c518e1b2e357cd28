/** Questions that go on at once for the same thing are asked once. Bounded, for one isolate. */

export interface Joined<T> {
  /**
   * What `ask` says, or what another's question for `name` says that went out a moment ago. Rejects with what that
   * rejects with. A question whose request was cut off says nothing any more: then it is asked anew.
   */
  of(name: string, ask: () => Promise<T>): Promise<T>;
}

/** Questions remembered at once. */
const MAX_QUESTIONS = 1000;
/** How often somebody waits for another's question before that counts as its own. */
const TIMES = 3;

/** `wait` waits for another's answer, `waitMs` at most, and rejects then. */
export function makeJoined<T>(
  now: () => number,
  waitMs: number,
  wait: (answer: Promise<T>) => Promise<T>,
  maxQuestions = MAX_QUESTIONS,
): Joined<T> {
  const asked = new Map<string, { readonly answer: Promise<T>; readonly at: number }>();
  return {
    async of(name, ask) {
      let fault: unknown;
      for (let i = 0; i < TIMES; i++) {
        const running = asked.get(name);
        const ms = running ? now() - running.at : 0;
        if (!running || ms >= waitMs || ms < 0) {
          const mine = { answer: ask(), at: now() };
          asked.delete(name);
          asked.set(name, mine);
          if (asked.size > maxQuestions) asked.delete(asked.keys().next().value as string);
          return mine.answer.finally(() => {
            if (asked.get(name) === mine) asked.delete(name);
          });
        }
        try {
          return await wait(running.answer);
        } catch (error) {
          fault = error;
        }
      }
      throw fault;
    },
  };
}
