/**
 * The last line of .ci/run: `node .ci/count.mjs STATUS REPORT…` prints `N passed, N failed` over all reports, Vitest's
 * JSON and pytest's JUnit XML. A run that ended with another status than 0, or left a report out, has a failure even
 * where no test says so. Exit 0 only where nothing failed.
 */
import { existsSync, readFileSync } from 'node:fs';

/** Tests that passed and failed by a report; null where there is none, or not a whole one. */
function countsOf(file) {
  if (!existsSync(file)) return null;
  const text = readFileSync(file, 'utf8');
  const counts = text.startsWith('{') ? ofVitest(text) : ofPytest(text);
  return Number.isInteger(counts.passed) && Number.isInteger(counts.failed) ? counts : null;
}

function ofVitest(text) {
  try {
    const { numPassedTests: passed, numFailedTests: failed } = JSON.parse(text);
    return { passed, failed };
  } catch {
    // a process was killed while it wrote
    return {};
  }
}

function ofPytest(text) {
  if (!text.trimEnd().endsWith('</testsuites>')) return {};
  const suites = [...text.matchAll(/<testsuite ([^>]*)>/g)].map(([, attributes]) => attributes);
  const sum = (name) =>
    suites.reduce((all, each) => all + Number(new RegExp(`\\b${name}="(\\d+)"`).exec(each)?.[1]), 0);
  const failed = sum('failures') + sum('errors');
  return { passed: sum('tests') - failed - sum('skipped'), failed };
}

const [status, ...files] = process.argv.slice(2);
const counts = files.map(countsOf);
const sum = (part) => counts.reduce((total, each) => total + (each?.[part] ?? 0), 0);
const isWhole = status === '0' && counts.every((each) => each !== null);
const failed = isWhole ? sum('failed') : Math.max(1, sum('failed'));
console.log(`${sum('passed')} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
