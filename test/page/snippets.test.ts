/** A request as code: what is left out, and what each language makes of values. test/browser runs the code itself. */
import { describe, expect, test } from 'vitest';
import { LANGUAGES, shortened } from '../../playground/ask/snippets.js';
import { fileName } from '../../playground/keep/file-name.js';
import type { ListedModel } from '../../playground/wire/service.js';
import type { RequestAgain } from '../../src/job/job.ts';

const MODEL = {
  id: 'm',
  upsampling: ['latent', 'token'],
  guidance: { kind: 'cfg', min: 1, max: 9, default: 4 },
  presets: [{ name: '7x', N: [2, 3, 5], e: [0.2, 0.3, 1], r: [0.1], cache: null }],
} as unknown as ListedModel;
const REQUEST: RequestAgain = {
  model: 'm',
  prompt: 'a fox',
  width: 256,
  height: 256,
  seed: 7,
  preset: '7x',
  r: [0.1],
  solver: 'euler',
  selection: 'canny',
  upsampling: 'latent',
  guidance: 4,
  output_format: 'png',
};

describe('a request in short', () => {
  test('leaves out what it would get anyway', () => {
    expect(shortened(REQUEST, MODEL)).toEqual({
      model: 'm',
      prompt: 'a fox',
      width: 256,
      height: 256,
      seed: 7,
      preset: '7x',
    });
  });

  test('keeps what is not the usual', () => {
    const own = {
      r: [0.3],
      solver: 'ab2',
      upsampling: 'token',
      guidance: 1,
      output_format: 'webp',
      quality: 80,
    } as const;
    expect(shortened({ ...REQUEST, ...own }, MODEL)).toMatchObject(own);
  });

  test('keeps everything of a model that is not known any more', () => {
    expect(shortened(REQUEST, undefined)).toMatchObject({ upsampling: 'latent', guidance: 4, r: [0.1] });
  });
});

describe('code', () => {
  const body = { ...shortened(REQUEST, MODEL), prompt: `it's "so" \\ $HOME`, reference: true } as const;
  const write = (language: string): string => LANGUAGES[language]!.write('http://here', body);

  test.each(Object.keys(LANGUAGES))('%s has the address, the model and no key', (language) => {
    expect(write(language)).toContain('http://here');
    expect(write(language)).toContain('RALU_API_KEY');
    expect(write(language)).not.toContain('ralu_');
  });

  test('of a shell quotes what the shell would read', () => {
    expect(write('curl')).toContain(`it'\\''s \\"so\\" \\\\ $HOME`);
  });

  test('of Python writes true as Python does', () => {
    expect(write('python')).toContain('"reference": True');
  });
});

describe('the name of a file', () => {
  test.each([
    ['a red apple', 'a-red-apple-7.png'],
    ['  Ein Café, “größer”! ', 'ein-cafe-großer-7.png'],
    ['红苹果', '红苹果-7.png'],
    ['../../etc/passwd', 'etc-passwd-7.png'],
    ['🍎🍎', 'picture-7.png'],
    [`${'word '.repeat(40)}`, 'word-word-word-word-word-word-word-word-7.png'],
  ])('of “%s” is %s', (prompt, name) => {
    expect(fileName({ prompt, seed: 7, format: 'png' })).toBe(name);
  });
});
