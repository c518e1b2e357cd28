/** The rows of a job: what is in memory is what is stored, a transaction is one row, and older rows are read. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import type { StoredLetter } from '../../durable-objects/job/columns.ts';
import {
  appendEvents,
  heardSteps,
  readEvents,
  readLastEvent,
  readStory,
} from '../../durable-objects/job/event-tables.ts';
import { SEVEN_TABLES } from '../../durable-objects/job/layout.ts';
import { addLetter, dueLetters, removeLetter } from '../../durable-objects/job/outbox-tables.ts';
import { MAX_OWN_EVENTS, makeRows, type Rows } from '../../durable-objects/job/rows.ts';
import { insertRow, readJob, readRow, readUsage } from '../../durable-objects/job/tables.ts';
import type { JobObject } from '../../durable-objects/job.ts';
import { migrate } from '../../durable-objects/migrate.ts';
import type { StageUsage } from '../../src/billing/receipt.ts';
import type { JobEvent } from '../../src/job/events.ts';
import type { JobRecord } from '../../src/job/job.ts';
import { encodeMessage } from '../../src/stage/safetensors.ts';
import { createJob, SMALL, watchAll } from './call.ts';

const stubOf = (name: string) => env.JOBS.getByName(name) as DurableObjectStub<JobObject>;

/** An object without a job: what `work` stores there is removed again. */
const inStorage = <T>(name: string, work: (storage: DurableObjectStorage) => T | Promise<T>): Promise<T> =>
  runInDurableObject(stubOf(name), async (_, { storage }) => {
    try {
      return await work(storage);
    } finally {
      await storage.deleteAll();
    }
  });

/** The record and usage of a job that is done. */
async function done(): Promise<{ readonly record: JobRecord; readonly usage: readonly StageUsage[] }> {
  const { id } = await createJob({ prompt: 'a fox', ...SMALL, preset: '7x', seed: 3 });
  await watchAll(id);
  return runInDurableObject(stubOf(id), ({ rows }) => ({ record: readRow(rows) as JobRecord, usage: readUsage(rows) }));
}

/** The same storage, and how many rows were written since it was last asked. */
function counting(storage: DurableObjectStorage): { readonly storage: DurableObjectStorage; written(): number } {
  const cursors: { readonly rowsWritten: number }[] = [];
  const exec = (query: string, ...values: SqlStorageValue[]) => {
    const cursor = storage.sql.exec(query, ...values);
    cursors.push(cursor);
    return cursor;
  };
  const counted = {
    sql: { exec },
    transactionSync: (work: () => unknown) => storage.transactionSync(work),
  } as unknown as DurableObjectStorage;
  return { storage: counted, written: () => cursors.splice(0).reduce((sum, { rowsWritten }) => sum + rowsWritten, 0) };
}

const step = (stage: number, number: number): JobEvent => ({
  type: 'step',
  data: { stage, step: number, steps: 9, sigma: 1 / number, ms: 1 },
});
const preview = (stage: number, length: number): JobEvent => ({
  type: 'preview',
  data: { stage, format: 'png', width: 1, height: 1, b64_json: 'A'.repeat(length) },
});
const letter = (stage: number) => ({ kind: 'forget', payload: { backend: 'one', stageId: `s${stage}` } }) as const;

/** All that can be read of a job. */
const whole = (rows: Rows) => ({
  record: rows.record(),
  lists: (['usage', 'attempts', 'letters'] as const).map((name) => rows.list(name)),
  numEvents: rows.numEvents(),
  events: readEvents(rows, 0, 1000),
});

/** Numbers in [0, 1), the same for a seed. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

test('what is in memory is what is stored, whatever changes it and whatever is undone', async () => {
  const { record, usage } = await done();
  await inStorage('rows-law', (storage) => {
    const rows = makeRows(storage);
    insertRow(rows, record, [step(1, 1)]);
    const draw = chance(7);
    let undone = 0;
    const changes: (() => void)[] = [
      () => rows.update({ attempt: Math.floor(draw() * 9), notBefore: 5, busySince: null }),
      () => rows.update({ room: { name: 'stage', stage: 2 }, roomTimes: [{ room: 'stage1', ms: -0 }] }),
      () => rows.update({ selections: [[1, 2, 3]], plan: { ...record.plan, warnings: ['ü\n\u2028"'] } }),
      () => rows.update({ receipt: draw() < 0.5 ? null : record.receipt, request: { ...record.request, seed: 5 } }),
      () => rows.setList('usage', usage.slice(0, Math.floor(draw() * 4))),
      () => rows.append([step(1, 2), preview(1, Math.floor(draw() * MAX_OWN_EVENTS))], 8),
      () => void rows.append([step(2, 3)], 9),
      () => addLetter(rows, letter(Math.floor(draw() * 9)), 4),
      () => void removeLetter(rows, rows.list('letters')?.[0]?.seq ?? 0),
    ];
    for (let i = 0; i < 120; i++) {
      const before = whole(rows);
      const isUndone = draw() < 0.2;
      try {
        rows.transact(() => {
          for (let n = 1 + Math.floor(draw() * 4); n > 0; n--) changes[Math.floor(draw() * changes.length)]?.();
          // a transaction sees its own changes
          expect(readEvents(rows, rows.numEvents() - 1, 1)[0]?.seq).toBe(rows.numEvents());
          if (isUndone) throw new Error('undone by a test');
        });
      } catch (error) {
        if (String(error) !== 'Error: undone by a test') throw error;
        undone++;
        expect(whole(rows)).toEqual(before);
      }
      expect(whole(rows)).toEqual(whole(makeRows(storage)));
    }
    expect(undone).toBeGreaterThan(10);
    expect(readEvents(rows, 0, 1000).map(({ seq }) => seq)).toEqual(
      Array.from({ length: rows.numEvents() }, (_, i) => i + 1),
    );
  });
});

test('a transaction writes one row, however much it changes; events that the row has no room for are one more', async () => {
  const { record, usage } = await done();
  await inStorage('rows-count', (storage) => {
    const { storage: counted, written } = counting(storage);
    const rows = makeRows(counted);
    insertRow(rows, record, [step(1, 1), step(1, 2)]);
    // the table is two, as SQLite counts
    expect(written()).toBe(3);
    rows.transact(() => {
      rows.update({ attempt: 1, tries: 1 });
      rows.setList('usage', usage);
      rows.append([step(1, 3), step(1, 4)], 1);
      rows.update({ room: { name: 'stage', stage: 2 } });
      addLetter(rows, letter(1), 5);
      addLetter(rows, letter(2), 5);
      rows.append([step(1, 5)], 2);
    });
    expect(written()).toBe(1);
    rows.append([preview(1, MAX_OWN_EVENTS)], 3);
    expect(written()).toBe(2);
    rows.transact(() => undefined);
    expect(readEvents(rows, 0, 99)).toHaveLength(6);
    expect(written()).toBe(0);
  });
});

test('what follows a transaction comes once that is stored, and never where it is undone', async () => {
  const { record } = await done();
  await inStorage('rows-commit', (storage) => {
    const rows = makeRows(storage);
    insertRow(rows, record, [step(1, 1)]);
    const seen: string[] = [];
    const add = (name: string): void => {
      rows.append([step(1, 2)], 2);
      rows.onCommit(() => seen.push(`${name} at ${makeRows(storage).numEvents()}`));
    };
    rows.transact(() => {
      add('outer');
      rows.transact(() => add('inner'));
      expect(seen).toEqual([]);
    });
    expect(seen).toEqual(['outer at 3', 'inner at 3']);
    const undone = () =>
      rows.transact(() => {
        add('undone');
        throw new Error('undone by a test');
      });
    expect(undone).toThrow('undone by a test');
    rows.onCommit(() => seen.push('outside'));
    expect(seen.slice(2)).toEqual(['outside']);
    rows.transact(() => undefined);
    expect(seen).toHaveLength(3);
  });
});

test('the newest event is told, but for pictures, which come behind it', async () => {
  const { record } = await done();
  await inStorage('rows-last', (storage) => {
    const rows = makeRows(storage);
    insertRow(rows, record, []);
    expect(readLastEvent(rows)).toBeUndefined();
    rows.append([step(1, 1), preview(1, MAX_OWN_EVENTS), preview(2, 9)], 1);
    expect(readLastEvent(rows)).toMatchObject({ seq: 1, type: 'step' });
  });
});

test('events are read from any place, across rows; a line or a row that cannot be read is left out', async () => {
  const { record } = await done();
  await inStorage('rows-events', (storage) => {
    const rows = makeRows(storage);
    insertRow(rows, record, [step(1, 1), step(1, 2)]);
    rows.append([preview(1, MAX_OWN_EVENTS), step(2, 1)], 2);
    rows.append([step(2, 2)], 3);
    rows.append([preview(2, MAX_OWN_EVENTS)], 4);
    rows.append([{ type: 'retry', data: { stage: 2, attempt: 1, reason: 'timeout', wait_ms: 1 } }, step(2, 1)], 5);
    const places = (after: number, limit: number) => readEvents(rows, after, limit).map(({ seq }) => seq);
    for (let after = 0; after < 9; after++)
      for (const limit of [1, 3, 99])
        expect(places(after, limit)).toEqual([1, 2, 3, 4, 5, 6, 7, 8].filter((seq) => seq > after).slice(0, limit));
    expect(heardSteps(rows)).toEqual({
      counted: new Map([
        [1, 2],
        [2, 1],
      ]),
      everyRun: new Map([
        [1, 2],
        [2, 3],
      ]),
    });
    expect(readStory(rows).map(({ type }) => type)).toEqual(['retry']);
    storage.sql.exec(`UPDATE job SET data = REPLACE(data, '"step":2', '"step') WHERE key = 1`);
    expect(places(0, 99)).toEqual([1, 3, 4, 5, 6, 7, 8]);
    storage.sql.exec('UPDATE job SET data = zeroblob(3) WHERE key = 1');
    expect(places(0, 99)).toEqual([5, 6, 7, 8]);
    storage.sql.exec('UPDATE job SET events = zeroblob(3) WHERE key = 0');
    expect(places(0, 99)).toEqual([5, 6]);
  });
});

test('what an earlier version stored in seven tables is read from one, broken parts under their names', async () => {
  const { record, usage } = await done();
  const latents = { data: Float32Array.from({ length: 8 }, (_, i) => i / 3), shape: [2, 4] };
  const tokens = encodeMessage({
    metadata: {},
    tensors: {
      latents,
      img_ids: { data: Float32Array.from([0, 1, 2, 3, 4, 5]), shape: [2, 3] },
      scale: { data: Uint8Array.from([2, 2]), shape: [2] },
    },
  });
  const rgb = encodeMessage({ metadata: {}, tensors: { rgb: { data: new Uint8Array(12).fill(9), shape: [2, 2, 3] } } });
  const store = ({ sql }: DurableObjectStorage): void => {
    migrate(sql, SEVEN_TABLES);
    const { request, plan, id, account } = record;
    sql.exec(
      `INSERT INTO job (id, account, request, plan, created_at, room, room_since, room_times, attempt, tries,
         not_before, confirmed_at) VALUES (?, ?, ?, ?, 5, '{"name":"select"}', 6, '[]', 1, 0, 0, 6)`,
      ...[id, account, JSON.stringify(request), JSON.stringify(plan)],
    );
    const put = 'INSERT INTO blob (name, part, data) VALUES (?, ?, ?)';
    sql.exec(put, 'tokens', 0, tokens.slice(0, 100).buffer);
    sql.exec(put, 'tokens', 1, tokens.slice(100).buffer);
    sql.exec(put, 'rgb', 0, rgb.slice().buffer);
    for (const event of [step(1, 1), step(1, 2), preview(1, 10)])
      sql.exec('INSERT INTO event (type, data, at) VALUES (?, ?, 7)', event.type, JSON.stringify(event.data));
    sql.exec("UPDATE event SET data = '{' WHERE seq = 2");
    sql.exec('INSERT INTO usage (stage, data) VALUES (1, ?)', JSON.stringify(usage[0]));
    sql.exec("INSERT INTO attempt VALUES ('one', 's1', 1, 1, 'stored', NULL), ('two', 's0', 1, 0, 'failed', 'w')");
    const add = 'INSERT INTO outbox (kind, due_at, tries, payload) VALUES (?, ?, ?, ?)';
    sql.exec(add, 'forget', 8, 2, JSON.stringify(letter(1).payload));
    sql.exec(add, 'forget', 8, 0, '{');
    sql.exec(add, 'expire', 9, 0, 'null');
  };
  await inStorage('rows-old', (storage) => {
    store(storage);
    const rows = makeRows(storage);
    const { id, account, request, plan } = record;
    expect(rows.record()).toMatchObject({ id, account, request, plan, regions: [''], createdAt: 5, attempt: 1 });
    const job = readJob(rows, rows.record() as JobRecord);
    expect(job.tokens?.latents).toEqual(latents.data);
    expect(job.rgb).toEqual({ data: new Uint8Array(12).fill(9), width: 2, height: 2 });
    expect(job.usage).toEqual([usage[0]]);
    expect(rows.list('attempts')?.map(({ backend, worker }) => [backend, worker])).toEqual([
      ['two', 'w'],
      ['one', null],
    ]);
    const letters: readonly Partial<StoredLetter>[] = dueLetters(rows, 'inside', 10);
    expect(letters).toMatchObject([
      { kind: 'forget', dueAt: 8, tries: 2, payload: letter(1).payload },
      { kind: 'expire', payload: null },
    ]);
    expect(appendEvents(rows, [step(2, 1)], 8)).toMatchObject([{ seq: 4, type: 'step', at: 8 }]);
    expect(readEvents(rows, 0, 9).map(({ seq }) => seq)).toEqual([1, 3, 4]);
    expect(whole(rows)).toEqual(whole(makeRows(storage)));
    const tables = storage.sql.exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB '_cf*'");
    expect(tables.toArray().map(({ name }) => name)).toEqual(expect.arrayContaining(['job']));
    expect(storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name IN ('migration', 'outbox')").toArray()).toEqual([]);
  });
  const breaks: [string, string][] = [
    ['plan', "UPDATE job SET plan = '{'"],
    ['usage', "UPDATE usage SET data = '{'"],
    ['latents', "UPDATE blob SET data = zeroblob(9) WHERE name = 'rgb'"],
  ];
  for (const [part, sql] of breaks)
    await inStorage('rows-broken', (storage) => {
      store(storage);
      storage.sql.exec(sql);
      const rows = makeRows(storage);
      expect(() => readJob(rows, rows.record() as JobRecord)).toThrow(`cannot be read: ${part}`);
    });
  await inStorage('rows-erased', (storage) => {
    store(storage);
    for (const table of ['job', 'blob', 'event', 'usage', 'attempt']) storage.sql.exec(`DELETE FROM ${table}`);
    const rows = makeRows(storage);
    expect([rows.isThere(), rows.hasJob(), rows.record()]).toEqual([true, false, null]);
    expect(dueLetters(rows, 'inside', 10).map(({ kind }) => kind)).toEqual(['forget', 'expire']);
  });
});
