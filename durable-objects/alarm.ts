/**
 * The alarm of an object, set only where that changes something: each setting is a row written. What it is set to is
 * remembered, and set anew where that is not known.
 */
export interface Alarm {
  /**
   * Reads what it is set to, null: nothing, as while it comes. Before that, and after `forget`, it is not known.
   */
  read(): Promise<number | null>;
  /** It has come, and is set to nothing. */
  came(): void;
  /** Sets it to `at`, unless it comes sooner. */
  by(at: number): void;
  /** Sets it to `at`, whatever it was set to. */
  set(at: number): void;
  /** What was set may not be: a transaction was undone, or everything removed. */
  forget(): void;
}

export function makeAlarm(storage: Pick<DurableObjectStorage, 'getAlarm' | 'setAlarm'>): Alarm {
  /** null: it is not set; undefined: not known */
  let known: number | null | undefined;
  const set = (at: number): void => {
    if (known === at) return;
    known = at;
    void storage.setAlarm(at);
  };
  return {
    async read() {
      const at = await storage.getAlarm();
      known = at;
      return at;
    },
    came() {
      known = null;
    },
    by(at) {
      if (typeof known !== 'number' || known > at) set(at);
    },
    set,
    forget() {
      known = undefined;
    },
  };
}
