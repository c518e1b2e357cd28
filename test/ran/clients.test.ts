/** The table of clients in docs/clients.md says what the tests ran: no more, no less, and with these versions. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Ran, type RanTest, RECORDS } from '../clients/records.ts';
import { expectPart } from './page.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** Packages of the tests that are no clients of anything. */
const TOOLS = ['fast-png', 'eventsource-parser', '@seriousme/openapi-schema-validator', 'sharp', '@types/node'];
/** Clients that a test runs as a program, named in its title. */
const PROGRAMS = ['openapi-typescript'];

const { RALU_CLIENTS_PYTHON } = process.env;
const distributions = read('.ci/clients.in')
  .split('\n')
  .filter((line) => /^[\w-]/.test(line));

/** `fal_client`, `schemathesis.cli` → the package that .ci/clients.in asks for; undefined where it is no client. */
function distributionOf(module: string): string | undefined {
  const name = (module.split('.')[0] as string).replaceAll('_', '-');
  return distributions.find((each) => each === name) ?? distributions.find((each) => each.startsWith(`${name}-tools-`));
}

interface Client {
  readonly name: string;
  readonly version: string;
  readonly language: 'JavaScript' | 'Python';
}

function clientOf(name: string): Client | null {
  const [registry, rest = ''] = name.split(':');
  if (registry === 'npm')
    return TOOLS.includes(rest) ? null : { name: rest, version: installed(rest), language: 'JavaScript' };
  const found = distributionOf(rest);
  const version = new RegExp(`^${found}==(\\S+)`, 'm').exec(read('.ci/clients.lock'))?.[1];
  return found && version ? { name: found, version, language: 'Python' } : null;
}

function installed(name: string): string {
  const place = ['node_modules', 'test/clients/typescript/node_modules']
    .map((folder) => `${folder}/${name}/package.json`)
    .find((path) => existsSync(join(ROOT, path)));
  if (place === undefined) throw new RangeError(`the package ${name} is not installed`);
  return JSON.parse(read(place)).version;
}

/** The last part of a package's name: `openai-compatible` of `@ai-sdk/openai-compatible`. */
const shortName = (name: string): string => name.split('/').at(-1) as string;

/** What a test is called in the table: by its suite, where that says more than whose client it is about. */
function labelOf({ title, name }: RanTest, client: Client): string {
  const isNamed = title.includes('RALU_CLIENTS_PYTHON') || title === shortName(client.name);
  const label = isNamed ? name : title;
  const prefix = `${shortName(client.name)}: `;
  return label.startsWith(prefix) ? label.slice(prefix.length) : label;
}

/** Of several clients in one file a test is about the one that its name begins with, or about all. */
function aboutWhich({ title, name }: RanTest, clients: readonly Client[]): readonly Client[] {
  // `openai` begins `openai: several images`, not `openai-compatible: several images`
  const firstWords = [title, name].map((text) => text.split(/[: ]/, 1)[0]);
  const named = clients.filter((client) => firstWords.includes(shortName(client.name)));
  // a package without a scope, such as `ai`, calls the others
  return named.length > 0 ? clients.filter((client) => named.includes(client) || !client.name.includes('/')) : clients;
}

/** The rows of the table: each client, its version, and what was run with it. */
function rowsOf(records: readonly Ran[]): readonly string[] {
  const did = new Map<string, { readonly client: Client; readonly labels: Set<string>; tests: number }>();
  for (const { tests } of records)
    for (const each of tests) {
      const packages = [
        ...new Set([
          ...each.packages,
          ...PROGRAMS.filter((name) => each.title.startsWith(`${name}: `)).map((name) => `npm:${name}`),
        ]),
      ];
      const clients = packages.map(clientOf).filter((client) => client !== null);
      for (const client of aboutWhich(each, clients)) {
        const entry = did.get(client.name + client.language) ?? { client, labels: new Set(), tests: 0 };
        entry.labels.add(labelOf(each, client));
        entry.tests++;
        did.set(client.name + client.language, entry);
      }
    }
  return [...did.values()]
    .toSorted((a, b) => (a.client.language + a.client.name < b.client.language + b.client.name ? -1 : 1))
    .map(({ client: { name, version, language }, labels, tests }) => {
      const what = [...labels].toSorted().join(' · ').replaceAll('|', '\\|');
      return `| \`${name}\` ${version} | ${language} | ${tests} | ${what} |`;
    });
}

const records: readonly Ran[] = existsSync(RECORDS)
  ? readdirSync(RECORDS).map((name) => JSON.parse(readFileSync(join(RECORDS, name), 'utf8')) as Ran)
  : [];
const files = readdirSync(join(ROOT, 'test/clients')).filter((name) => name.endsWith('.test.ts'));
const isComplete = files.every((file) => records.some((record) => record.file === file && record.isWhole));

test.skipIf(!isComplete || RALU_CLIENTS_PYTHON === undefined)(
  'the table has what the clients’ tests ran, where all of them ran and passed',
  () => {
    const head = ['| client | language | tests | what was run |', '| --- | --- | --- | --- |'];
    expectPart('docs/clients.md', 'ran', [...head, ...rowsOf(records)].join('\n'));
  },
);

test.skipIf(!isComplete || RALU_CLIENTS_PYTHON === undefined)(
  'each client that the lock files have for it was run',
  () => {
    const rows = rowsOf(records).join('\n');
    for (const name of [...distributions, ...PROGRAMS]) expect(rows).toContain(`| \`${name}\` `);
  },
);
