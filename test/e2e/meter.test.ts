/**
 * What a meter at Stripe is told of ended jobs, over real HTTP, where it fails, hangs, cuts off or takes things twice,
 * and where a day passes between.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import type { Letter } from '../../src/job/outbox.ts';
import { makeOutside, many, PATIENCE, QUAGGA } from './outside.ts';
import { openPayer, paidOf } from './paying.ts';
import { type Fault, inTurn } from './receiver.ts';

// each test needs the stack for itself
vi.setConfig({ maxConcurrency: 1 });

const DAY_MS = 24 * 3_600_000;

const outside = makeOutside();
const postedOf = (id: string) =>
  outside.stripe.heard.filter(({ method, body }) => method === 'POST' && body.includes(id));

/** Every database of every object, while nothing of ours runs. */
function eachStore(work: (db: DatabaseSync, has: (table: string) => boolean) => void): void {
  for (const name of readdirSync(outside.rig.state, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.sqlite')) continue;
    const db = new DatabaseSync(join(outside.rig.state, name));
    const tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
    work(db, (table) => tables.some((row) => row.name === table));
    db.close();
  }
}

/** What the accounts know of charges that a meter is told. */
function meterStates(): ReadonlyMap<string, string> {
  const states = new Map<string, string>();
  eachStore((db, has) => {
    if (!has('tally')) return;
    for (const { job, meter } of db.prepare('SELECT id AS job, meter FROM job WHERE meter IS NOT NULL').all())
      states.set(String(job), String(meter));
  });
  return states;
}

describe('a meter at Stripe', () => {
  test('has each job of a postpaid account with a customer once, whatever became of its first try', async () => {
    const faults: readonly Fault[] = ['none', 500, 429, 'hang', 'cut', 'taken and cut'];
    outside.stripeFaults = inTurn(faults);
    const [by, unbilled] = [await openPayer(outside.front, null, 'cus_once'), await openPayer(outside.front)];
    const [jobs] = await Promise.all([many(by, faults.length), many(unbilled, 1)]);
    const billed = () => outside.stripe.events.filter(({ customer }) => customer === 'cus_once');
    await expect.poll(() => billed().length, PATIENCE).toBe(faults.length);
    // the one that was taken and cut is sent again, and known
    await expect.poll(() => outside.stripe.heard.length, PATIENCE).toBe(2 * faults.length - 1);
    const sorted = (of: readonly { readonly identifier: string; readonly value: number }[]) =>
      of.map(({ identifier, value }) => `${identifier} ${value}`).toSorted();
    expect(sorted(billed())).toEqual(sorted(jobs.map((job) => ({ identifier: job.id, value: paidOf(job) }))));
    for (const { headers } of outside.stripe.heard)
      expect(headers).toMatchObject({
        'stripe-version': '2026-10-28.endive',
        'content-type': 'application/x-www-form-urlencoded',
      });
    for (const { identifier, timestamp } of billed()) {
      const finished = jobs.find(({ id }) => id === identifier)?.finished_at as number;
      expect(Math.abs(timestamp - finished)).toBeLessThan(5);
    }
    await pause(500);
    await outside.rig.kill();
    expect([...meterStates().values()]).toEqual(faults.map(() => 'taken'));
    await outside.rig.start();
  });

  test('is not sent a job again after 23 hours without a look at what it has', async () => {
    const payers = {
      there: await openPayer(outside.front, null, 'cus_there'),
      missing: await openPayer(outside.front, null, 'cus_missing'),
      odd: await openPayer(outside.front, null, 'cus_odd'),
    };
    outside.stripeFaults = inTurn(['taken and cut']);
    const { id: there } = await payers.there.create(QUAGGA);
    await payers.there.events(there);
    await expect.poll(() => postedOf(there).length, PATIENCE).toBe(1);
    outside.stripeFaults = (_, tries) => (tries === 1 ? 500 : 'none');
    const { id: missing } = await payers.missing.create(QUAGGA);
    const { id: odd } = await payers.odd.create(QUAGGA);
    await expect.poll(() => [missing, odd].map((id) => postedOf(id).length), PATIENCE).toEqual([1, 1]);
    await outside.rig.kill();

    // a day passes: the letters are old, and Stripe knows no identifier any more
    const made: string[] = [];
    eachStore((db, has) => {
      if (!has('job') || has('account')) return;
      for (const { letters } of db.prepare('SELECT letters FROM job WHERE key = 0').all()) {
        const old = (JSON.parse(String(letters)) as Letter[]).map((letter) => {
          if (letter.kind !== 'meter') return letter;
          const { payload } = letter;
          made.push(payload.job);
          if (payload.job === odd)
            outside.stripe.put({
              identifier: 'x',
              customer: 'cus_odd',
              value: 1,
              timestamp: Math.floor(payload.at / 1000),
            });
          return { ...letter, payload: { ...payload, firstTriedAt: (payload.firstTriedAt ?? 0) - DAY_MS }, dueAt: 0 };
        });
        db.prepare('UPDATE job SET letters = ? WHERE key = 0').run(JSON.stringify(old));
      }
    });
    expect(made.toSorted()).toEqual([there, missing, odd].toSorted());
    outside.stripe.forget();
    const before = outside.stripe.heard.length;
    await outside.rig.start();
    const looks = () => outside.stripe.heard.slice(before).filter(({ method }) => method === 'GET').length;
    await expect.poll(() => [looks(), postedOf(missing).length], PATIENCE).toEqual([3, 2]);
    await pause(500);
    await outside.rig.kill();

    const sums = (customer: string) =>
      outside.stripe.events.filter((event) => event.customer === customer).map(({ identifier }) => identifier);
    expect(sums('cus_there')).toEqual([there]);
    expect(sums('cus_missing')).toEqual([missing]);
    expect(sums('cus_odd')).toEqual(['x']);
    expect([there, odd].map((id) => postedOf(id).length)).toEqual([1, 1]);
    const states = meterStates();
    expect([there, missing, odd].map((id) => states.get(id))).toEqual(['taken', 'taken', 'waiting']);
    const alert = outside.rig.log.find((line) => line.includes('meter_differs')) ?? '';
    expect(alert).toContain(odd);
    await outside.rig.start();
  });
});
