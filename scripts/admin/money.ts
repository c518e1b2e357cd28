/** Money of an account: posted, listed, added up, compared. */
import { randomUUID } from 'node:crypto';
import type { Dimension } from '../../src/billing/spending.ts';
import type { Service } from '../generate/client.ts';
import { ask, askAll, askTable, type Done, minute, type Page, pagesOf } from './ask.ts';
import type { Order } from './options.ts';

export interface Balance {
  readonly mode: 'prepaid' | 'postpaid';
  readonly balance_usd: string;
  readonly held_usd: string;
  readonly available_usd: string | null;
  readonly credit_limit_usd: string | null;
  readonly stripe_customer: string | null;
}
interface Entry {
  readonly seq: number;
  readonly at: number;
  readonly id: string;
  readonly kind: string;
  readonly amount_usd: string;
  readonly held_usd: string;
  readonly job: string | null;
  readonly reason: string | null;
}
interface Line extends Entry {
  readonly balance_after_usd: string;
  readonly held_after_usd: string;
}
interface Figures {
  readonly jobs: number;
  readonly tflops: number;
  readonly cost_usd: string;
  readonly held_usd: string;
}
interface Usage extends Page<Figures & { readonly group: string }> {
  readonly from: string;
  readonly to: string;
  readonly totals: Figures;
}
interface Difference {
  readonly kind: string;
  readonly subject: string;
  readonly expected: string;
  readonly found: string;
  readonly says: string;
}
interface Reconciliation extends Page<Difference> {
  readonly more: readonly string[];
  readonly jobs: number;
}

export const describeBalance = ({ mode, ...of }: Balance): string =>
  `${mode}: balance ${of.balance_usd} USD, of that ${of.held_usd} held; ${of.available_usd === null ? 'no limit' : `${of.available_usd} USD left to spend`}${of.stripe_customer === null ? '' : `; billed to ${of.stripe_customer}`}`;

const KINDS = { 'top-up': 'top_up', refund: 'refund', adjust: 'adjustment' } as const;

/** Posts money; with the id it may be ordered again, and is written once. */
export async function postMoney(
  service: Service,
  path: string,
  { command, usd, job, id: given, reason }: Extract<Order, { command: keyof typeof KINDS }>,
): Promise<Done> {
  const id = given ?? `${command}-${randomUUID()}`;
  const entry = await ask<Entry>(service, 'POST', `${path}/ledger`, {
    id,
    kind: KINDS[command],
    amount_usd: usd,
    ...(job !== null && { job }),
    ...(reason !== null && { reason }),
  });
  const { billing } = await ask<{ billing: Balance }>(service, 'GET', path);
  const answer = { entry, billing };
  return { answer, sentences: [`${entry.amount_usd} USD under the id ${id}`, describeBalance(billing)] };
}

const describeLine = ({ seq, at, kind, id, job, reason, ...money }: Line): string =>
  [
    String(seq).padStart(6),
    minute(at / 1000),
    kind.padEnd(10),
    money.amount_usd.padStart(14),
    `held ${money.held_usd}`.padEnd(16),
    `balance ${money.balance_after_usd}`,
    job ?? id,
    ...(reason === null ? [] : [reason]),
  ].join('  ');

export async function showStatement(
  service: Service,
  path: string,
  { csv }: Extract<Order, { command: 'statement' }>,
): Promise<Done> {
  if (csv) return tableOf(await askTable(service, `${path}/ledger`, {}));
  const lines = await askAll<Line>(service, `${path}/ledger`, { limit: '1000' });
  return { answer: lines, sentences: lines.map(describeLine) };
}

const tableOf = (table: string): Done => ({ answer: table, sentences: [table.trimEnd()] });

const describeFigures = (name: string, { jobs, tflops, cost_usd, held_usd }: Figures): string =>
  `${name}  ${jobs} jobs  ${Number(tflops.toPrecision(6))} TFLOPs  ${cost_usd} USD${Number(held_usd) === 0 ? '' : `  ${held_usd} held`}`;

export async function showUsage(
  service: Service,
  path: string,
  {
    from,
    to,
    by,
    csv,
  }: { readonly from: string | null; readonly to: string | null; readonly by: Dimension; readonly csv: boolean },
): Promise<Done> {
  const query = { group_by: by, ...(from !== null && { from }), ...(to !== null && { to }) };
  if (csv) return tableOf(await askTable(service, `${path}/usage`, query));
  const rows: (Figures & { readonly group: string })[] = [];
  let last: Usage | null = null;
  for await (const page of pagesOf<Usage>(service, `${path}/usage`, { query: { ...query, limit: '1000' } })) {
    rows.push(...page.data);
    last = page;
  }
  const { from: first, to: end, totals } = last as Usage;
  return {
    answer: { from: first, to: end, group_by: by, data: rows, totals },
    sentences: [...rows.map((row) => describeFigures(row.group, row)), describeFigures(`${first} to ${end}`, totals)],
  };
}

/** Every difference; exit code 1 where there is one. */
export async function reconcile(service: Service, path: string): Promise<Done> {
  const differences: Difference[] = [];
  const more: string[] = [];
  let jobs = 0;
  for await (const page of pagesOf<Reconciliation>(service, `${path}/reconcile`, { method: 'POST' })) {
    differences.push(...page.data);
    more.push(...page.more);
    jobs += page.jobs;
  }
  const described = differences.map(
    ({ kind, subject, expected, found, says }) => `${kind}  ${subject}: ${says}; expected ${expected}, found ${found}`,
  );
  const isClean = differences.length === 0;
  return {
    answer: { differences, more, jobs },
    sentences: [
      ...described,
      ...more.map((kind) => `${kind}: there are more than are named here`),
      isClean
        ? `nothing differs; ${jobs} jobs were asked`
        : `${differences.length} differences; ${jobs} jobs were asked`,
    ],
    exitCode: isClean ? 0 : 1,
  };
}
