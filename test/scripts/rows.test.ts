import { describe, expect, it, test } from 'vitest';
import type { CaseRows } from '../../scripts/bench/rows.ts';
import { sayRows } from '../../scripts/bench/say-rows.ts';
import { statementsOf } from '../../scripts/bench/statements.ts';
import { addTo, byClass, costOf, dollarsOf, emptyTally, mergeCounted } from '../../scripts/bench/tally.ts';

describe('statements of a text of SQL', () => {
  it('end at semicolons, but for those in quotes, in comments and in triggers', () => {
    expect(statementsOf('SELECT \';\'; SELECT "a;b" -- one; two\n; SELECT 1 /* ; */;\n')).toEqual([
      "SELECT ';'",
      'SELECT "a;b" -- one; two',
      'SELECT 1 /* ; */',
    ]);
    const trigger =
      "CREATE TRIGGER a BEFORE UPDATE ON b BEGIN SELECT CASE WHEN 1 THEN RAISE(ABORT, 'no') END; SELECT 2; END";
    expect(statementsOf(`${trigger}; SELECT CASE WHEN 1 THEN 2 END; SELECT 3`)).toEqual([
      trigger,
      'SELECT CASE WHEN 1 THEN 2 END',
      'SELECT 3',
    ]);
    expect(statementsOf(' ; ')).toEqual([]);
  });
});

test('an image’s share of what was counted, and its price', () => {
  const tally = emptyTally();
  addTo(tally, 'INSERT', { rowsRead: 1, rowsWritten: 3 });
  addTo(tally, 'INSERT', { rowsRead: 1, rowsWritten: 3 });
  addTo(tally, 'setAlarm()', { rowsRead: 0, rowsWritten: 1 });
  tally.calls.start = 2;
  expect(tally.statements.INSERT).toEqual({ times: 2, read: 2, written: 6 });
  const counted = { requests: 3, tallies: { 'AccountObject acct_1': tally } };
  const twice = mergeCounted(counted, counted);
  expect(twice.requests).toBe(6);
  const both = byClass(twice).AccountObject!;
  expect(byClass(twice, (name) => name !== 'acct_1')).toEqual({});
  expect(costOf(both, 2)).toEqual({ written: 7, read: 2, requests: 2 });
  // 7 rows of a millionth of a dollar, 2 of a thousandth of that; 2 requests of .15 and 3 of .30;
  // 4 s of .128 GB at 12.50
  const dollars = dollarsOf([costOf(both, 2)], 3, 4);
  expect(dollars.rows).toBeCloseTo(0.007002, 12);
  expect(dollars.requests).toBeCloseTo(0.0012, 12);
  expect(dollars.duration).toBeCloseTo(0.0064, 12);
});

test('the tables say each object’s share, and the sum', () => {
  const objectOf = (name: string, written: number): CaseRows['objects'][number] => ({
    name,
    cost: { written, read: 1.5, requests: 2 },
    statements: [
      { text: 'UPDATE a\n  SET b = c || d', times: 1, read: 1, written },
      { text: 'SELECT 1', times: 1, read: 0.5, written: 0 },
    ],
    calls: [],
  });
  const text = sayRows(
    [
      {
        name: 'one',
        objects: [objectOf('A', 3), objectOf('B', 4)],
        workerRequests: 3,
        seconds: 0.25,
        dollars: { rows: 0.007, requests: 0.0015, duration: 0.0004 },
      },
    ],
    5,
  ).join('\n');
  expect(text).toContain('| A | 3 | 1.5 | 2 |');
  expect(text).toContain('| together | 7 | 3 | 7 |');
  expect(text).toContain('1,000 images: rows $0.0070, requests $0.0015, duration $0.0004 for the 0.25 s');
  expect(text).toContain('| A `UPDATE a SET b = c \\|\\| d` | 1 | 3 | 1 |');
  expect(text).not.toContain('SELECT 1');
});
