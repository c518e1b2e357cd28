import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, it } from 'vitest';
import { startTokenizer, type TokenizerThread } from '../../containers/onnx/engine/start-tokenizer.ts';
import { makeTokenize } from '../../containers/onnx/engine/tokenize.ts';

const CONTENTS: { model: object; normalizer: object } = JSON.parse(
  readFileSync(fileURLToPath(new URL('../../models/fluent-scenes/tokenizer.json', import.meta.url)), 'utf8'),
);
const OPTIONS = { maxTokens: 64, wholeWords: true };
/** A normalizer whose time doubles with each letter. */
const SLOW = { ...CONTENTS, normalizer: { type: 'Replace', pattern: { Regex: '(a+)+$' }, content: '' } };

const open: TokenizerThread[] = [];
async function start(contents: unknown, limitMs?: number): Promise<TokenizerThread> {
  const thread = await startTokenizer(contents, OPTIONS, limitMs);
  open.push(thread);
  return thread;
}
afterEach(async () => {
  await Promise.all(open.splice(0).map((thread) => thread.close()));
});

it('answers each prompt as the tokenizer does, in any number at once', async () => {
  const { tokenize } = await start(CONTENTS);
  const prompts = ['a red apple', '', 'zebra 🦊', '漢字'.repeat(16_000), 'a fox '.repeat(5000)];
  expect(await Promise.all(prompts.map(tokenize))).toEqual(prompts.map(makeTokenize(CONTENTS, OPTIONS)));
});

it('leaves this thread free: it goes round while a prompt is read', async () => {
  const { tokenize } = await start(SLOW, 2000);
  let rounds = 0;
  let isRead = false;
  const reading = tokenize(`${'a'.repeat(40)}b`).catch(() => {
    isRead = true;
  });
  while (!isRead) {
    rounds++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  await reading;
  expect(rounds).toBeGreaterThan(10);
});

it('ends a thread that takes too long, with all that wait for it, and goes on with a new one', async () => {
  const { tokenize } = await start(SLOW, 2000);
  const results = await Promise.allSettled([tokenize(`${'a'.repeat(40)}b`), tokenize('a fox')]);
  expect(results).toEqual([
    { status: 'rejected', reason: new Error('the tokenizer took longer than 2000 ms') },
    { status: 'rejected', reason: new Error('the tokenizer took longer than 2000 ms') },
  ]);
  expect(await tokenize('fox b')).toEqual(makeTokenize(SLOW, OPTIONS)('fox b'));
});

it('rejects what waits when it is closed, and everything after', async () => {
  const thread = await start(CONTENTS);
  const waiting = thread.tokenize('a fox');
  await Promise.all([expect(waiting).rejects.toThrow('the tokenizer is closed'), thread.close()]);
  await expect(thread.tokenize('a fox')).rejects.toThrow('the tokenizer is closed');
});

it('does not start where the contents are no tokenizer', async () => {
  await expect(startTokenizer({}, OPTIONS)).rejects.toThrow(/is no tokenizer: .*model/s);
});
