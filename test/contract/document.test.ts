/** docs/stage-contract.md says all there is: whoever writes a server from it alone misses no field, code or feature. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  CONTRACT_VERSION,
  FEATURES,
  STAGE_ERROR_CODES,
  servedFacts,
  stageEvent,
  stageOptions,
} from '../../src/stage/contract.ts';
import { goldenBytes } from './golden/listed.ts';

const ROOT = new URL('../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, ROOT), 'utf8');
const DOCUMENT = read('docs/stage-contract.md');

/** The text under a heading, to the next one of its rank or above. */
function section(heading: string): string {
  const rank = /^#+/.exec(heading)?.[0].length ?? 0;
  const start = DOCUMENT.indexOf(`\n${heading}\n`);
  if (start < 0) throw new Error(`no section ${heading}`);
  const rest = DOCUMENT.slice(start + heading.length + 2);
  return rest.slice(0, rest.search(new RegExp(`^#{2,${rank}} `, 'm')) >>> 0);
}

/** The names in backquotes in a column of a section's tables. */
const column = (text: string, at: number): string[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| --- '))
    .flatMap((line) => [...(line.split(' | ')[at] ?? '').matchAll(/`([^`]+)`/g)].map(([, name]) => name as string));

describe('the page names', () => {
  test('every fact of a model, and no other', () => {
    expect(column(section('## Models'), 0).toSorted()).toEqual(Object.keys(servedFacts.shape).toSorted());
  });

  test('every field of a request, and no other', () => {
    expect(column(section('### Metadata'), 0).toSorted()).toEqual(Object.keys(stageOptions.shape).toSorted());
  });

  test('every field of every event', () => {
    const text = section('## The answer');
    for (const { shape } of stageEvent.options) {
      for (const field of Object.keys(shape)) expect(text).toContain(`\`${field}\``);
      expect(column(text, 0)).toContain([...shape.event.values][0]);
    }
  });

  test('every code that ends a stage, with whether it may be tried again', () => {
    const lines = section('## The answer').split('\n');
    for (const code of STAGE_ERROR_CODES)
      expect(lines.filter((line) => new RegExp(`^\\| \`${code}\` \\| (true|false) \\| \\w`).test(line))).toHaveLength(
        1,
      );
  });

  test('every code that the server refuses with, at its status, and no other', () => {
    const files = readdirSync(new URL('containers/onnx', ROOT)).filter((name) => name.endsWith('.ts'));
    const source = files.map((name) => read(`containers/onnx/${name}`)).join('\n');
    const found = [
      ...source.matchAll(/\brefuse\(\s*(\d{3}),\s*'(\w+)'/g),
      ...source.matchAll(/\bproblem\(c, (\d{3}), \{\s*code: '(\w+)'/g),
      ...[...source.matchAll(/\bunavailable\(\s*c,\s*'(\w+)'/g)].map(([all, code]) => [all, '503', code]),
      // a wrong shape is said by a function of its own
      ['', '400', 'bad_tensor'],
    ].map(([, status, code]) => `${status} ${code}`);
    const said = section('## Refusals')
      .split('\n')
      .filter((line) => /^\| \d{3} \|/.test(line))
      .flatMap((line) => column(line, 1).map((code) => `${line.slice(2, 5)} ${code}`));
    expect(found.length).toBeGreaterThan(20);
    expect([...new Set(found)].toSorted()).toEqual(said.toSorted());
  });

  test('its version and every feature', () => {
    expect(DOCUMENT).toContain(`The contract is version ${CONTRACT_VERSION}.`);
    const names = /^Names of features: (.*)\.$/m.exec(DOCUMENT)?.[1] ?? '';
    expect(column(`| ${names}`, 0)).toEqual([...FEATURES]);
  });
});

test('the message shown in hex is the golden one', () => {
  const bytes = [...DOCUMENT.matchAll(/^[0-9a-f]{8}: ((?:[0-9a-f]{4} )+) /gm)].map(([, hex]) => hex).join('');
  expect(Buffer.from(bytes.replaceAll(' ', ''), 'hex').equals(goldenBytes('answer-step.safetensors'))).toBe(true);
});

test('the offsets of the golden request are those that are said', () => {
  const bytes = goldenBytes('request-low.safetensors');
  expect(bytes[0]! + 256 * bytes[1]!).toBe(576);
  expect(bytes.length).toBe(584 + 256 + 48 + 12 + 4);
});
