/** What an image costs on Cloudflare, as text. Pure. */
import type { CaseRows, ObjectRows } from './rows.ts';
import { table } from './table.ts';

/** longest text of a statement that is shown */
const LONGEST = 100;
/** fewest rows read of a statement that is shown although it writes none, for each image */
const LEAST_READ = 10;

const number = (value: number): string => (Number.isInteger(value) ? String(value) : value.toFixed(1));
const dollars = (value: number): string => `$${value.toFixed(4)}`;
const total = (objects: readonly ObjectRows[], part: keyof ObjectRows['cost']): number =>
  objects.reduce((sum, { cost }) => sum + cost[part], 0);

/** A statement in one line of a table. */
const shorten = (text: string): string => {
  const line = text.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|');
  return `\`${line.length > LONGEST ? `${line.slice(0, LONGEST)}…` : line}\``;
};

const sayCase = ({ name, objects, workerRequests, seconds, dollars: cost }: CaseRows): readonly string[] => [
  `### ${name}`,
  '',
  table(
    ['objects', 'rows written', 'rows read', 'requests'],
    [
      ...objects.map(({ name: object, cost: { written, read, requests } }) => [
        object,
        number(written),
        number(read),
        number(requests),
      ]),
      ['Worker', '', '', number(workerRequests)],
      [
        'together',
        number(total(objects, 'written')),
        number(total(objects, 'read')),
        number(total(objects, 'requests') + workerRequests),
      ],
    ],
  ),
  '',
  `1,000 images: rows ${dollars(cost.rows)}, requests ${dollars(cost.requests)}, duration ${dollars(cost.duration)} for the ${seconds.toFixed(2)} s from the first stage to the end.`,
  '',
  table(
    ['object and statement', 'times', 'rows written', 'rows read'],
    objects.flatMap(({ name: object, statements }) =>
      statements
        .filter(({ read, written }) => written > 0 || read >= LEAST_READ)
        .map(({ text, times, read, written }) => [
          `${object} ${shorten(text)}`,
          number(times),
          number(written),
          number(read),
        ]),
    ),
  ),
  '',
];

/** The section of the document. */
export const sayRows = (cases: readonly CaseRows[], images: number): readonly string[] => [
  `Means of ${images} images, from the first request to the expiry of the job, in local workerd; each was started, followed to its end and fetched. Rows are what \`rowsRead\` and \`rowsWritten\` of SQLite’s cursors say, those of indexes and of \`sqlite_master\` included, for every statement by itself; \`setAlarm\` and \`deleteAll\` are a row each. Requests to objects are calls, alarms and messages of WebSockets. [What that comes to](cost.md).`,
  '',
  ...cases.flatMap(sayCase),
];
