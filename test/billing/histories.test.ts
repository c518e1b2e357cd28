/**
 * The laws of the ledger and of slots over random histories, with a crash possible wherever something waits: the
 * objects' own classes, on a platform in Node that loses, delays and repeats messages and kills whoever sends or gets
 * them. The long version is `npm run soak`.
 */
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { runHistory } from '../../scripts/soak/history.ts';
import { checkColumns, checkLedger } from '../../scripts/soak/laws.ts';
import { loadProduct, type Product } from '../../scripts/soak/objects.ts';
import { begin, INPUTS, TARIFFS } from '../../scripts/soak/operations.ts';
import { FACTS } from '../../scripts/soak/stage.ts';
import { makeWorld, type World } from '../../scripts/soak/world.ts';
import { DEFAULT_LIMITS } from '../../src/account/account.ts';
import { draftRequest } from '../../src/job/plan-request.ts';
import { value } from '../job/requests.ts';

/** As many as take some ten seconds on one core. */
const HISTORIES = 100;
/** Of the first: others than those that the soak begins with. */
const SEED = 1_000_000;

let product: Product;
const memo = new Map();

beforeAll(async () => {
  product = await loadProduct();
});

test(`in ${HISTORIES} random histories with crashes every law of money and slots holds`, async () => {
  const sums = { operations: 0, kills: 0, checks: 0, done: 0 };
  for (let seed = SEED; seed < SEED + HISTORIES; seed++) {
    const { operations, kills, checks, done, violation } = await runHistory(seed, product, memo);
    expect({ seed, operations, violation }).toEqual({ seed, operations, violation: null });
    sums.operations += operations.length;
    sums.kills += kills;
    sums.checks += checks;
    sums.done += done;
  }
  // else nothing was tried
  expect(sums.operations).toBeGreaterThan(10 * HISTORIES);
  expect(sums.kills).toBeGreaterThan(HISTORIES);
  expect(sums.checks).toBeGreaterThan(60 * HISTORIES);
  expect(sums.done).toBeGreaterThan(5 * HISTORIES);
});

test('the same seed is the same history, crashes included', async () => {
  for (const seed of [2, 7, 11]) {
    const first = await runHistory(seed, product, memo);
    expect(await runHistory(seed, product, memo)).toEqual(first);
  }
});

test('every request that a history makes can be planned', () => {
  const tools = { allowEngineChange: false, tariff: null, draw: () => 1 };
  expect(INPUTS.map((input) => value(draftRequest(input, FACTS, tools)).plan(memo).length)).toEqual(
    INPUTS.map(() => 1),
  );
});

describe('a ledger that is wrong is found out', () => {
  let world: World;
  afterEach(() => world.close());

  const COLUMNS = ['debits pending', 'debits posted', 'credits pending', 'credits posted'] as const;
  /** A statement that adds to a column of the ledger. */
  const addTo = (account: string, column: (typeof COLUMNS)[number], amount: number): string => {
    const path = `'$.${account}[${COLUMNS.indexOf(column)}]'`;
    return `UPDATE tally SET columns = json_set(columns, ${path}, json_extract(columns, ${path}) + ${amount})`;
  };

  /** An account with one job's hold, changed behind the back of its object. */
  async function spoiled(...statements: readonly string[]): Promise<World> {
    world = makeWorld(3, product);
    const scene = { world, product, memo, tariff: TARIFFS[0] ?? null, requests: 0, postings: 0, named: [] };
    begin(scene, DEFAULT_LIMITS);
    await world.time.run(world.time.now() + 100);
    const price = { model: 'small', tariff: 'plain', quoted: 50 };
    const work = { flops: 1, plainFlops: 1, steps: 1 };
    const start = { requestId: 'r', jobIds: ['job_a'], work, price, user: null, idempotency: null };
    const asked = world.platform.repeat({
      space: 'ACCOUNTS',
      name: world.account.name,
      method: 'start',
      args: ['key_a', start],
      answer: null,
    });
    await world.time.run(world.time.now() + 10_000);
    expect(await asked).toMatchObject({ kind: 'new' });
    world.quoted.set('job_a', 50);
    checkColumns(world.account.db, 0);
    checkLedger(world.account.db, world.quoted);
    for (const statement of statements) world.account.db.exec(statement);
    return world;
  }

  test.each([
    ['debits are credits, posted', [addTo('sales', 'debits posted', 1)]],
    ['debits are credits, pending', [addTo('sales', 'credits pending', -49)]],
    ['holds are what is pending', ['UPDATE job SET held = 60']],
    ['holds are the open jobs', ["UPDATE job SET status = 'done'"]],
    ['holds are the open jobs', ['UPDATE job SET status = NULL']],
    ['never negative', [addTo('balance', 'debits posted', 60_000), addTo('adjustments', 'credits posted', 60_000)]],
  ])('%s: %j', async (law, statements) => {
    const { account } = await spoiled(...statements);
    expect(() => checkColumns(account.db, 0)).toThrow(law);
  });

  test.each([
    ['columns are the sum of the entries', [addTo('balance', 'debits posted', 1), addTo('sales', 'credits posted', 1)]],
    ['usage has what is held', ["UPDATE usage SET held = 1 WHERE dimension = 'all'"]],
    ['usage has what was captured', ["UPDATE usage SET captured = 1 WHERE dimension = 'all'"]],
    ['given back is at most captured', ['UPDATE job SET refunded = 1']],
  ])('%s: %j', async (law, statements) => {
    const { account, quoted } = await spoiled(...statements);
    expect(() => checkLedger(account.db, quoted)).toThrow(law);
  });

  test('held is what was quoted', async () => {
    const { account, quoted } = await spoiled();
    expect(() => checkLedger(account.db, new Map([...quoted, ['job_a', 49]]))).toThrow('held 50, quoted 49');
  });
});
