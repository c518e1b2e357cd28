/** What the files of the clients' tests did, each in a file of its own: written by them, read by test/ran. */
import { join } from 'node:path';

export const RECORDS = join(import.meta.dirname, '../../node_modules/.cache/clients-ran');

/** What a file of tests did. */
export interface Ran {
  readonly file: string;
  /** whether each of its tests passed that was not skipped */
  readonly isWhole: boolean;
  readonly tests: readonly RanTest[];
}
export interface RanTest {
  /** of the outermost suite, or of the test itself where it is in none */
  readonly title: string;
  readonly name: string;
  /** what its file imports, as `npm:openai`, and what it ran in Python, as `pypi:fal_client` */
  readonly packages: readonly string[];
}
