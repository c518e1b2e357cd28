/**
 * Just enough of the platform to run the objects' own classes in Node, with a crash at every place where one can be:
 *
 *   what an object writes in one turn is stored at its end in one transaction, or not at all
 *   what it sends in a turn goes out once that is stored
 *   a killed incarnation runs no further: its timers never fire, and whatever it touches throws or never answers
 *   an alarm that was not done is run again; one runs at a time
 *   the next call or alarm constructs the class anew over the same rows
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Fate, Faults } from './faults.ts';
import { dropAll, kvOver, openDatabase, type Sql, sqlOver } from './sqlite.ts';
import { type Actor, acting, type Time } from './time.ts';

/** A class of an object, as the platform constructs it. */
export type ObjectClass = new (ctx: never, env: never) => object;

type Method = (...args: unknown[]) => unknown;

/** Thrown where a dead incarnation touches its storage. */
export class Killed extends Error {
  override name = 'Killed';
}

/** What a call that broke rejects with. */
export class BrokenCall extends Error {
  override name = 'BrokenCall';
  readonly retryable: boolean;
  constructor(message: string, retryable: boolean) {
    super(message);
    this.retryable = retryable;
  }
}

/** A call that was answered: enough to make it again. */
export interface Message {
  readonly space: string;
  readonly name: string;
  readonly method: string;
  readonly args: readonly unknown[];
  readonly answer: unknown;
}

interface Incarnation extends Actor {
  readonly instance: object;
  ready: Promise<unknown>;
  /** calls that wait for it: each is told when it is killed */
  readonly pending: Set<() => void>;
}

export interface Host {
  readonly space: string;
  readonly name: string;
  readonly db: DatabaseSync;
  /** when its alarm is due; null: none is set */
  alarm(): number | null;
  /** when an incarnation of it was last killed; null: never */
  killedAt(): number | null;
  /** Ends its incarnation, if there is one. */
  kill(): void;
  /** Runs its alarm beside what the platform does. */
  ring(): void;
}

export interface Platform {
  /** Calls of a space's objects. */
  space(space: string): { getByName(name: string): Record<string, Method> };
  /** The object of this name, made where there was none. */
  host(space: string, name: string): Host;
  hosts(space: string): readonly Host[];
  /** Ends the turn: what was written is stored, or its writer is killed before. */
  endTurn(): void;
  /** Delivers a message once more, without faults. */
  repeat(message: Message): Promise<unknown>;
  /** Whoever acts is gone after this turn. */
  killSoon(actor: Actor | undefined): void;
  readonly messages: readonly Message[];
  close(): void;
}

/** The longest list of messages that is kept to be sent again. */
const MAX_MESSAGES = 400;
const ALARM_PAUSE_MS = 2_000;

export function makePlatform({
  time,
  faults,
  classes,
  env,
  draw,
  onStored,
  onSent,
}: {
  readonly time: () => Time;
  readonly faults: Faults;
  readonly classes: Readonly<Record<string, ObjectClass>>;
  readonly env: object;
  readonly draw: () => number;
  /** rows of an object were stored */
  readonly onStored: (host: Host) => void;
  /** somebody calls an object */
  readonly onSent: (method: string, args: readonly unknown[]) => void;
}): Platform {
  const spaces = new Map<string, Map<string, Living>>();
  const written = new Set<Living>();
  const messages: Message[] = [];

  /** One object, whichever of its incarnations lives. */
  class Living implements Host {
    readonly space: string;
    readonly name: string;
    readonly db: DatabaseSync;
    #incarnation: Incarnation | null = null;
    #alarm: number | null = null;
    #rings = false;
    #isSetAnew = false;
    #alarmBefore: readonly [number | null, boolean] | null = null;
    #armedFor: number | null = null;
    #killedAt: number | null = null;

    constructor(space: string, name: string) {
      this.space = space;
      this.name = name;
      this.db = openDatabase(draw);
    }

    alarm(): number | null {
      return this.#alarm;
    }

    killedAt(): number | null {
      return this.#killedAt;
    }

    isOf(actor: Actor): boolean {
      return this.#incarnation === actor;
    }

    /** A write begins a transaction, which the end of the turn stores. */
    #write(): void {
      if (this.#alarmBefore) return;
      this.#alarmBefore = [this.#alarm, this.#isSetAnew];
      this.db.exec('BEGIN');
      written.add(this);
    }

    #setAlarm(at: number | null): void {
      this.#write();
      this.#alarm = at === null ? null : Math.max(at, time().now());
      if (this.#rings) this.#isSetAnew = true;
    }

    endTurn(): void {
      if (!this.#alarmBefore) return;
      if (this.#incarnation && faults.killsBeforeCommit()) {
        this.db.exec('ROLLBACK');
        [this.#alarm, this.#isSetAnew] = this.#alarmBefore;
        this.#alarmBefore = null;
        this.#incarnation.undoneTurn = time().turn();
        this.kill();
      } else {
        this.db.exec('COMMIT');
        this.#alarmBefore = null;
        onStored(this);
      }
      this.#arm();
    }

    #arm(): void {
      const at = this.#alarm;
      if (at === null || this.#rings || this.#armedFor === at) return;
      this.#armedFor = at;
      time().after(at - time().now(), () => {
        if (this.#armedFor === at) this.#armedFor = null;
        if (this.#alarm === at && !this.#rings) this.#ring();
      });
    }

    #ring(): void {
      this.#rings = true;
      this.#isSetAnew = false;
      const done = (next: number | null): void => {
        this.#rings = false;
        if (!this.#isSetAnew) this.#alarm = next;
        this.#arm();
      };
      this.#run('alarm', [], {
        answered: () => done(null),
        failed: () => done(time().now() + ALARM_PAUSE_MS),
        killed: () => done(time().now() + 100),
      });
    }

    ring(): void {
      const nothing = (): void => undefined;
      this.#run('alarm', [], { answered: nothing, failed: nothing, killed: nothing });
    }

    #wake(): Incarnation {
      if (this.#incarnation) return this.#incarnation;
      const incarnation = {
        isDead: false,
        undoneTurn: -1,
        ready: Promise.resolve(),
        pending: new Set(),
      } as unknown as {
        -readonly [Field in keyof Incarnation]: Incarnation[Field];
      };
      this.#incarnation = incarnation;
      try {
        const make = classes[this.space] as ObjectClass;
        incarnation.instance = acting.run(
          incarnation,
          () => new make(this.#context(incarnation) as never, env as never),
        );
        return incarnation;
      } catch (error) {
        this.#incarnation = null;
        throw error;
      }
    }

    #context(incarnation: Incarnation): object {
      const touch = (writes: boolean): void => {
        if (incarnation.isDead) throw new Killed(this.name);
        if (writes) this.#write();
      };
      const never = new Promise<never>(() => undefined);
      const soon = <T>(work: () => T): Promise<T> => (incarnation.isDead ? never : Promise.resolve(work()));
      const sql: Sql = sqlOver(this.db, touch);
      const storage = {
        sql,
        kv: kvOver(this.db, touch),
        transactionSync: <T>(work: () => T): T => this.#transaction(touch, work),
        getAlarm: () => soon(() => (this.#rings && !this.#isSetAnew ? null : this.#alarm)),
        setAlarm: (at: number) => soon(() => this.#setAlarm(at)),
        deleteAlarm: () => soon(() => this.#setAlarm(null)),
        deleteAll: () =>
          soon(() => {
            this.#write();
            dropAll(this.db);
          }),
      };
      return {
        id: { name: this.name },
        storage,
        waitUntil: (work: Promise<unknown>) => void work.catch(() => undefined),
        // nobody watches
        getWebSockets: () => [],
        blockConcurrencyWhile: (work: () => Promise<unknown>) => {
          incarnation.ready = work();
          incarnation.ready.catch(() => undefined);
          return incarnation.ready;
        },
      };
    }

    #transaction<T>(touch: (writes: boolean) => void, work: () => T): T {
      touch(true);
      const alarm = [this.#alarm, this.#isSetAnew] as const;
      this.db.exec('SAVEPOINT inside');
      try {
        const result = work();
        this.db.exec('RELEASE inside');
        return result;
      } catch (error) {
        this.db.exec('ROLLBACK TO inside');
        this.db.exec('RELEASE inside');
        [this.#alarm, this.#isSetAnew] = alarm;
        throw error;
      }
    }

    /** Asks the living incarnation; one of the three is called, once. */
    #run(
      method: string,
      args: readonly unknown[],
      {
        answered,
        failed,
        killed,
      }: {
        readonly answered: (answer: unknown) => void;
        readonly failed: (error: unknown) => void;
        readonly killed: () => void;
      },
    ): void {
      let incarnation: Incarnation;
      try {
        incarnation = this.#wake();
      } catch (error) {
        failed(error);
        return;
      }
      const ended = (): boolean => !incarnation.pending.delete(killed);
      incarnation.pending.add(killed);
      const call = async (): Promise<unknown> => {
        await incarnation.ready;
        return (incarnation.instance as Record<string, Method>)[method]?.(...args);
      };
      acting.run(incarnation, call).then(
        (answer) => ended() || answered(answer),
        (error) => ended() || failed(error),
      );
    }

    /** One call from outside. `answered` waits until what it wrote is stored. */
    ask(
      method: string,
      args: readonly unknown[],
      fate: Fate,
      heard: { readonly answered: (answer: unknown) => void; readonly failed: (error: unknown) => void },
    ): void {
      const broken = (): void => {
        time().after(faults.latency('well'), () => heard.failed(new BrokenCall('reset', faults.isRetryable())));
      };
      if (fate === 'kills_callee') this.kill();
      let isStored = false;
      this.#run(method, args, {
        killed: broken,
        failed: (error) => time().after(faults.latency('well'), () => heard.failed(error)),
        answered: (answer) => {
          const copy = structuredClone(answer);
          const turn = time().turn();
          const incarnation = this.#incarnation;
          time().after(0, () => {
            isStored = incarnation?.undoneTurn !== turn;
            if (!isStored) return broken();
            if (messages.length < MAX_MESSAGES)
              messages.push({ space: this.space, name: this.name, method, args, answer: copy });
            if (fate === 'kills_callee_after') this.kill();
            if (fate === 'kills_callee_after' || fate === 'answer_lost') return broken();
            time().after(faults.latency('well'), () => heard.answered(copy));
          });
        },
      });
    }

    kill(): void {
      const incarnation = this.#incarnation;
      if (!incarnation) return;
      faults.kills++;
      this.#killedAt = time().now();
      incarnation.isDead = true;
      this.#incarnation = null;
      for (const tell of incarnation.pending) tell();
      incarnation.pending.clear();
    }
  }

  function living(space: string, name: string): Living {
    const all = spaces.get(space) ?? new Map<string, Living>();
    spaces.set(space, all);
    const known = all.get(name);
    if (known) return known;
    const made = new Living(space, name);
    all.set(name, made);
    return made;
  }

  const isIncarnation = (actor: Actor): actor is Incarnation => 'pending' in actor;

  function kill(actor: Actor): void {
    if (actor.isDead) return;
    const host = isIncarnation(actor)
      ? [...spaces.values()].flatMap((all) => [...all.values()]).find((one) => one.isOf(actor))
      : undefined;
    if (host) host.kill();
    else {
      faults.kills++;
      actor.isDead = true;
    }
  }

  function killSoon(actor: Actor | undefined): void {
    if (actor) time().after(0, () => kill(actor));
  }

  function call(space: string, name: string, method: string, args: readonly unknown[]): Promise<unknown> {
    const from = acting.getStore();
    const sentIn = time().turn();
    const copy = structuredClone(args);
    onSent(method, copy);
    const drawn = faults.fate();
    // what creates a job may come long after its Worker has given up
    const fate = drawn === 'late' && method !== 'create' ? 'well' : drawn;
    return new Promise((resolve, reject) => {
      if (from?.isDead) return;
      if (fate === 'kills_caller') killSoon(from);
      const latency = drawn === 'late' && method === 'create' ? faults.lateness() : faults.latency(drawn);
      time().after(latency, () => {
        // its sender was killed before it was sent
        if (from && from.undoneTurn === sentIn) return;
        if (fate === 'lost') return reject(new BrokenCall('lost', faults.isRetryable()));
        living(space, name).ask(method, copy, fate, { answered: resolve, failed: reject });
      });
    });
  }

  return {
    space: (space) => ({
      getByName: (name) =>
        new Proxy({} as Record<string, Method>, {
          get: (_, method) => {
            if (typeof method !== 'string' || method === 'then') return undefined;
            return (...args: unknown[]) => call(space, name, method, args);
          },
        }),
    }),
    host: living,
    hosts: (space) => [...(spaces.get(space)?.values() ?? [])],
    endTurn() {
      const all = [...written];
      written.clear();
      for (const host of all) host.endTurn();
    },
    repeat: ({ space, name, method, args }) =>
      new Promise((resolve, reject) =>
        living(space, name).ask(method, structuredClone(args) as unknown[], 'well', {
          answered: resolve,
          failed: reject,
        }),
      ),
    killSoon,
    messages,
    close() {
      for (const all of spaces.values()) for (const { db } of all.values()) db.close();
    },
  };
}
